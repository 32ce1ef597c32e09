"""What the sides `pyvips` and `pillow` of `darkroom-bench peers` have in common: lanes, one process each.

The first line of standard input is the job, as JSON. With a `folder` the variants of the first photos are written there, and
the mean of the variants' bytes is told; without one, the rate is measured. One line of JSON goes to standard output; a failure
is one sentence on standard error. Standard input stays open as long as the caller lives: its end is the end of this process
and of its lanes.
"""

import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import threading
import time


def run(prepare):
    """`prepare(job)` is called once in each lane, and gives the libraries' versions and a function from a photo's bytes to
    the bytes of its variants."""
    # Every end is os._exit: an ordinary one would wait for the thread that reads standard input.
    try:
        job = json.loads(sys.stdin.readline())
        photos = [open(path, "rb").read() for path in job["photos"]]
        if job["folder"]:
            threading.Thread(target=end_with_caller, daemon=True).start()
            versions, make = prepare(job)
            answer = {"versions": versions, "bytes": keep(photos, job, make)}
        else:
            answer = measure(photos, job, prepare)
        print(json.dumps(answer), flush=True)
        os._exit(0)
    except Exception as error:
        end_with(sentence(error))


def sentence(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


def end_with(complaint):
    sys.stderr.write(complaint + "\n")
    sys.stderr.flush()
    os._exit(1)


def end_with_caller():
    while os.read(0, 4096):
        pass
    os._exit(1)


def keep(photos, job, make):
    total = 0
    for index, photo in enumerate(photos):
        files = make(photo)
        total += sum(map(len, files))
        if index < job["kept"]:
            for variant, file in zip(job["variants"], files):
                with open(os.path.join(job["folder"], f"{index}-{variant['file']}"), "wb") as out:
                    out.write(file)
    return total / len(photos)


def measure(photos, job, prepare):
    # Forked after the photos were read, so that the lanes share them; the libraries start their threads in the lanes.
    context = multiprocessing.get_context("fork")
    turn = Turn(context, len(photos), job)
    parent = os.getpid()
    lanes = []
    for index in range(job["lanes"]):
        answer, teller = context.Pipe(duplex=False)
        arguments = (index, parent, photos, job, prepare, turn, teller)
        context.Process(target=lane, args=arguments, daemon=True).start()
        # The lane alone holds it now, so that its death can be seen.
        teller.close()
        lanes.append(answer)
    threading.Thread(target=end_with_caller, daemon=True).start()
    while lanes:
        for answer in multiprocessing.connection.wait(lanes):
            try:
                failure = answer.recv()
            except EOFError:
                failure = "a lane died"
            if failure:
                # The other lanes end with this process.
                end_with(failure)
            lanes.remove(answer)
    return turn.figures()


def lane(index, parent, photos, job, prepare, turn, teller):
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    try:
        _, make = prepare(job)
        while not turn.over.value:
            make(photos[turn.take()])
            turn.completed(index)
        teller.send(None)
    except Exception as error:
        teller.send(f"lane {index}: {sentence(error)}")


def end_with_parent(parent):
    # A parent that was killed tells nobody, but its children are given to another one.
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


class Turn:
    """What the lanes share: the order of the photos, and what is measured.

    Lanes take the photos from one counter, round and round, and work without a pause until the turn is over. The window that
    is measured begins with the completion that makes every lane warm, and ends with the first one, at or after the time asked
    for, that makes the completions in between whole passes over the photos: so each photo counts as often as any other. A
    lane's own part of the window runs from one of its completions to another, and it has at least one.
    """

    def __init__(self, context, photos, job):
        self.photos, self.seconds, self.lanes = photos, job["seconds"], job["lanes"]
        self.lock = context.Lock()
        self.next = context.Value("q", 0, lock=False)
        self.over = context.Value("b", 0, lock=False)
        # For each lane: how many photos it has completed, when the last, and the processor's time until then.
        self.now, self.begin, self.end = (context.Array("d", 3 * self.lanes, lock=False) for _ in range(3))

    def take(self):
        """The number of the next photo that nobody has taken."""
        with self.lock:
            self.next.value += 1
            return (self.next.value - 1) % self.photos

    def completed(self, index):
        with self.lock:
            at = 3 * index
            self.now[at : at + 3] = [self.now[at] + 1, time.monotonic(), cpu_seconds()]
            if self.over.value:
                return
            if not self.begin[0]:
                if all(self.now[::3]):
                    self.begin[:] = self.now[:]
                return
            done = [now - then for now, then in zip(self.now[::3], self.begin[::3])]
            elapsed = self.now[at + 1] - max(self.begin[1::3])
            if all(done) and sum(done) % self.photos == 0 and elapsed >= self.seconds:
                self.end[:] = self.now[:]
                self.over.value = 1

    def figures(self):
        spans = [end - begin for end, begin in zip(self.end, self.begin)]
        done, seconds, cpu = spans[::3], spans[1::3], spans[2::3]
        return {
            "photos_per_second": sum(count / time for count, time in zip(done, seconds)),
            "cpu_ms_per_photo": sum(cpu) * 1e3 / sum(done),
        }


def cpu_seconds():
    """User and system time of this process with all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
