// Uploads one file with tus-js-client, as its options in JSON say, and prints one line of JSON about it:
//   node upload.mjs '{"endpoint": "http://127.0.0.1:8080/v1/uploads", "file": "photo.jpg", "chunkSize": 5000000}'
// What is not an option of tus-js-client:
//   file        the file's path
//   source      how the client reads it: "file" (default), "buffer" or "stream"
//   storage     a file that remembers where uploads are, so that another process can take one up
//   stopAfter   end the process, as a crash would, once so many bytes are accepted
//   terminateAfter   give the upload up then, and tell the server so
import { createReadStream, readFileSync, writeSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { FileUrlStorage, Upload } from 'tus-js-client'

const { file, source = 'file', storage, stopAfter, terminateAfter, ...given } = JSON.parse(process.argv[2])

// `offsetBack` must stay empty: an offset, once told, never goes back. `urls`: more than one of them and the client has
// found its upload gone, and begun again.
const report = { requests: 0, failures: [], stalls: 0, urls: [], offsetBack: [], resumedAt: null }
const offsets = new Map()
let told = false

function tell(more) {
  told = true
  writeSync(1, `${JSON.stringify({ ...report, ...more })}\n`)
}

const sources = {
  file: () => createReadStream(file),
  buffer: () => readFileSync(file),
  // Not a file to the client: its length is unknown, and nothing can be read twice.
  stream: () => createReadStream(file).pipe(new PassThrough()),
}

const upload = new Upload(sources[source](), {
  // The daemon is away for seconds between two lives.
  retryDelays: [0, 20, 100, 250, ...Array(240).fill(500)],
  ...(storage ? { urlStorage: new FileUrlStorage(storage) } : {}),
  ...given,
  onBeforeRequest() {
    report.requests += 1
  },
  onAfterResponse(request, response) {
    const offset = Number.parseInt(response.getHeader('Upload-Offset'), 10)
    if (Number.isNaN(offset) || request.getMethod() === 'POST') return
    const url = request.getURL()
    if (offset < (offsets.get(url) ?? 0)) report.offsetBack.push([url, offsets.get(url), offset])
    offsets.set(url, offset)
    if (request.getMethod() === 'HEAD' && report.resumedAt === null) report.resumedAt = offset
  },
  onShouldRetry(error) {
    const status = error.originalResponse?.getStatus() ?? 0
    report.failures.push(status === 0 ? String(error.causingError?.code ?? error.message) : status)
    // As tus-js-client itself decides.
    return status < 400 || status >= 500 || status === 409 || status === 423
  },
  onUploadUrlAvailable() {
    if (!report.urls.includes(upload.url)) report.urls.push(upload.url)
  },
  onChunkComplete(_size, accepted) {
    if (stopAfter !== undefined && accepted >= stopAfter) {
      tell({ stopped: accepted })
      process.exit(0)
    }
    if (terminateAfter !== undefined && accepted >= terminateAfter) {
      upload.abort(true).then(
        () => tell({ terminated: accepted }),
        (error) => {
          tell({ error: error.message })
          process.exit(1)
        },
      )
    }
  },
  onSuccess({ lastResponse }) {
    tell({ url: upload.url, photo: lastResponse.getHeader('Photo-Location') ?? null })
  },
  onError(error) {
    // With parallelUploads, tus-js-client 4.3.1 does not itself repeat the last request, which joins the parts, when its
    // connection breaks.
    if (given.parallelUploads > 1 && !error.originalRequest && report.failures.length < 100) {
      report.failures.push(String(error.code ?? error.message))
      setTimeout(() => upload.start(), 100)
      return
    }
    tell({ error: error.message, status: error.originalResponse?.getStatus() ?? null, body: error.originalResponse?.getBody() })
    process.exit(1)
  },
})

// In Node, tus-js-client 4.3.1 waits for ever for an answer that breaks off in the middle of its body. Here nothing else
// goes on, so Node would end.
process.on('beforeExit', () => {
  if (told) return
  report.stalls += 1
  upload.abort().then(() => upload.start())
})

if (storage) {
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
}
upload.start()
