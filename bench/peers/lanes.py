"""What the sides `pyvips` and `pillow` of `darkroom-bench peers` have in common: lanes, one process each.

The first line of standard input is the job, as JSON. With a `folder` the first photo's variants are written there, and the
mean of the variants' bytes is told; without one, the rate is measured. One line of JSON goes to standard output. Standard
input stays open as long as the caller lives: its end is the end of this process and of its lanes.
"""

import json
import multiprocessing
import os
import resource
import sys
import threading
import time


def run(prepare):
    """`prepare(job)` is called once in each lane, and gives the libraries' versions and a function from a photo's bytes to
    the bytes of its variants."""
    # Forked after the photos were read, so that the lanes share them; the libraries start their threads in the lanes.
    context = multiprocessing.get_context("fork")
    job = json.loads(sys.stdin.readline())
    photos = [open(path, "rb").read() for path in job["photos"]]
    if job["folder"]:
        threading.Thread(target=end_with_caller, daemon=True).start()
        versions, make = prepare(job)
        answer = {"versions": versions, "bytes": keep(photos, job, make)}
    else:
        answer = measure(context, photos, job, prepare)
    print(json.dumps(answer), flush=True)
    # Not sys.exit: the thread that reads standard input would be waited for.
    os._exit(0)


def end_with_caller():
    sys.stdin.read()
    os._exit(1)


def keep(photos, job, make):
    total = 0
    for index, photo in enumerate(photos):
        files = make(photo)
        total += sum(map(len, files))
        if index == 0:
            for variant, file in zip(job["variants"], files):
                with open(os.path.join(job["folder"], variant["file"]), "wb") as out:
                    out.write(file)
    return total / len(photos)


def measure(context, photos, job, prepare):
    shared = Shared(context)
    answers = context.SimpleQueue()
    parent = os.getpid()
    lanes = [
        context.Process(target=lane, args=(index, parent, photos, job, prepare, shared, answers), daemon=True)
        for index in range(job["lanes"])
    ]
    for process in lanes:
        process.start()
    threading.Thread(target=end_with_caller, daemon=True).start()
    figures = [answers.get() for _ in lanes]
    failures = [figure for figure in figures if isinstance(figure, str)]
    if failures:
        sys.stderr.write(failures[0] + "\n")
        sys.stderr.flush()
        os._exit(1)
    for process in lanes:
        process.join()
    photos_done = sum(done for _, done, _, _ in figures)
    return {
        "versions": figures[0][0],
        "photos_per_second": sum(done / seconds for _, done, seconds, _ in figures),
        "cpu_ms_per_photo": sum(cpu for _, _, _, cpu in figures) * 1e3 / photos_done,
    }


class Shared:
    """What the lanes know of each other."""

    def __init__(self, context):
        self.lock = context.Lock()
        self.next = context.Value("q", 0, lock=False)
        self.warm = context.Value("q", 0, lock=False)
        self.measured = context.Value("q", 0, lock=False)
        self.begin = context.Value("d", 0.0, lock=False)

    def add(self, value):
        """Adds one and gives the sum."""
        with self.lock:
            value.value += 1
            return value.value


def lane(index, parent, photos, job, prepare, shared, answers):
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    try:
        answers.put(measure_lane(photos, job, prepare, shared))
    except Exception as error:
        answers.put(f"lane {index}: {type(error).__name__}: {error}")


def end_with_parent(parent):
    # A parent that was killed tells nobody, but its children are given to another one.
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def measure_lane(photos, job, prepare, shared):
    """Every lane works without a pause from the beginning until the last lane has its figure, so that none is measured while
    another has left it the cores. A lane's time runs from one of its completions to another."""
    versions, make = prepare(job)

    def one():
        make(photos[shared.add(shared.next) % len(photos)])

    one()
    if shared.add(shared.warm) == job["lanes"]:
        shared.begin.value = time.monotonic()
    while shared.begin.value == 0.0:
        one()
    since, cpu, done = time.monotonic(), cpu_seconds(), 0
    while True:
        one()
        done += 1
        if time.monotonic() - shared.begin.value >= job["seconds"]:
            break
    figure = (versions, done, time.monotonic() - since, cpu_seconds() - cpu)
    shared.add(shared.measured)
    while shared.measured.value < job["lanes"]:
        one()
    return figure


def cpu_seconds():
    """User and system time of this process with all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
