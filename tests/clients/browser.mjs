// Uploads one file with the browser build of tus-js-client, in a page of another origin than the daemon's:
//   node browser.mjs '{"origin": "http://gallery.example", "endpoint": "http://127.0.0.1:8080/v1/uploads", "file": "photo.jpg"}'
// The page is jsdom's. Its XMLHttpRequest asks before it sends (preflight), holds the daemon to its answer, and hides
// headers that are not exposed, as browsers do. What it leaves out is done here: a method must be allowed, too, and an
// answer must be whole.
import { readFileSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import http from 'node:http'
import { basename } from 'node:path'
import { JSDOM, VirtualConsole } from 'jsdom'

const { origin, file, ...options } = JSON.parse(process.argv[2])
const report = { preflights: [], forbidden: [] }

function tell(more) {
  writeSync(1, `${JSON.stringify({ ...report, ...more })}\n`)
}

const emit = http.ClientRequest.prototype.emit
http.ClientRequest.prototype.emit = function (event, ...args) {
  if (event === 'response' && this.method === 'OPTIONS') {
    const wanted = this.getHeader('access-control-request-method')
    const allowed = args[0].headers['access-control-allow-methods'] ?? ''
    report.preflights.push(wanted)
    const safe = ['GET', 'HEAD', 'POST'].includes(wanted)
    // Upper and lower case differ in methods.
    if (!safe && !allowed.split(/,\s*/).includes(wanted)) {
      report.forbidden.push(wanted)
      args[0].statusCode = 403
    }
  }
  if (event === 'response') {
    // An answer that is cut off within its body is an error to a page; jsdom leaves the request without an end.
    const answer = args[0]
    answer.once('close', () => {
      if (!answer.complete) this.emit('error', new Error('the answer was cut off'))
    })
  }
  return emit.call(this, event, ...args)
}

const page = new JSDOM('<!doctype html><title>Gallery</title>', {
  url: `${origin}/upload.html`,
  runScripts: 'dangerously',
  // Says on stderr what the page is refused, and why.
  virtualConsole: new VirtualConsole().sendTo(console),
})
const { window } = page

// The client as a page loads it, and what only a page's own code can do with it.
for (const script of [
  readFileSync(createRequire(import.meta.url).resolve('tus-js-client/dist/tus.min.js'), 'utf8'),
  `window.begin = function (bytes, name, given, done) {
     var repeated = 0
     var upload = new tus.Upload(new File([bytes], name, { type: 'image/jpeg' }), Object.assign({
       retryDelays: [0, 20, 100, 250].concat(Array(240).fill(500)),
       metadata: { filename: name, filetype: 'image/jpeg' },
     }, given, {
       onSuccess: function (end) {
         done({ url: upload.url, photo: end.lastResponse.getHeader('Photo-Location') })
       },
       onError: function (error) {
         // As in upload.mjs: the request that joins the parts is repeated by the page.
         if (given.parallelUploads > 1 && !error.originalRequest && repeated++ < 100) {
           setTimeout(function () { upload.start() }, 100)
           return
         }
         var response = error.originalResponse
         done({ error: error.message, status: response ? response.getStatus() : null,
                body: response ? response.getBody() : null })
       },
     }))
     upload.findPreviousUploads().then(function (previous) {
       if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0])
       upload.start()
     })
   }`,
]) {
  const element = window.document.createElement('script')
  element.textContent = script
  window.document.head.append(element)
}

window.begin(new window.Uint8Array(readFileSync(file)), basename(file), options, (end) => {
  tell({ ...end, remembered: window.localStorage.length })
  process.exit('error' in end ? 1 : 0)
})
