"""Uploads one file with tuspy, as its options in JSON say, and prints one line of JSON about it:
    python upload.py '{"endpoint": "http://127.0.0.1:8080/v1/uploads", "file": "photo.jpg", "chunk_size": 5000000}'
What is not an option of tuspy:
    file        the file's path
    storage     a file that remembers where uploads are, so that another process can take one up
    stop_after  end the process, as a crash would, once so many bytes are accepted
"""

import json
import sys
import time

from tusclient import client
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage

RETRY_DELAY = 0.2
RETRIES = 600


def told(error):
    return {
        "error": str(error),
        "status": error.status_code,
        "body": error.response_content.decode() if error.response_content else None,
    }


def run(options):
    endpoint, file = options.pop("endpoint"), options.pop("file")
    storage, stop_after = options.pop("storage", None), options.pop("stop_after", None)
    report = {"failures": 0, "offset_back": [], "resumed_at": None}
    if storage:
        options |= {"store_url": True, "url_storage": FileStorage(storage)}

    def again(action):
        """tuspy itself repeats what fails while a chunk is sent, and nothing else."""
        for _ in range(RETRIES):
            try:
                return action()
            except TusCommunicationError as error:
                if error.status_code and error.status_code < 500:
                    raise
                report["failures"] += 1
                time.sleep(RETRY_DELAY)
        raise TimeoutError("nobody is there")

    tus = client.TusClient(endpoint)
    uploader = again(lambda: tus.uploader(file, retries=RETRIES, retry_delay=RETRY_DELAY, **options))
    if uploader.url is None:
        uploader.set_url(again(uploader.create_url))
    else:
        report["resumed_at"] = uploader.offset
    # Only what the network and the server's absence break is worth repeating.
    repeat = uploader._retry_or_cry

    def retry_or_cry(error):
        if error.status_code and 400 <= error.status_code < 500 and error.status_code not in (409, 423):
            raise error
        report["failures"] += 1
        repeat(error)

    uploader._retry_or_cry = retry_or_cry
    while uploader.offset < uploader.stop_at:
        before = uploader.offset
        try:
            uploader.upload_chunk()
        except TypeError:
            # An answer that was cut off within its head: http.client takes that for its end, and tuspy looks for an offset
            # that has not come.
            if uploader.request.response_headers.get("upload-offset") is not None:
                raise
            report["failures"] += 1
            uploader.offset = again(uploader.get_offset)
        # An offset, once told, never goes back.
        if uploader.offset < before:
            report["offset_back"].append([before, uploader.offset])
        if stop_after is not None and uploader.offset >= stop_after:
            return report | {"stopped": uploader.offset}
    photo = uploader.request.response_headers.get("photo-location") if uploader.request else None
    return report | {"url": uploader.url, "photo": photo}


try:
    print(json.dumps(run(json.loads(sys.argv[1]))))
except (TusCommunicationError, TusUploadFailed) as failed:
    print(json.dumps(told(failed)))
    sys.exit(1)
