//! Other programs, bounded in time: none outlives the call that started it.

use std::io::{self, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running program is looked at: the standard library cannot wait with a limit. What it measured is in its
/// output, so that nothing depends on when its end is seen.
const LOOK: Duration = Duration::from_millis(20);
/// How long a finished program's output is waited for: a grandchild that survives it could hold the pipe open.
const OUTPUT_TIME_MAX: Duration = Duration::from_secs(2);
/// Most bytes that are taken of each output.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// Most characters of a program's complaint that are repeated.
const COMPLAINT_CHARS_MAX: usize = 300;

/// A started program that dies with this value.
struct Running {
    child: Child,
    /// Keeps its standard input open until the program has ended: the peers' scripts end when that closes, so that not even a
    /// killed benchmark leaves one running.
    _input: Option<Sender<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a program that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end and gives what it wrote to standard output. `line` is written to its standard input, which then
/// stays open; without one, standard input is empty.
///
/// Fails with a sentence: what could not be started, what exceeded the limit, or the end of what it wrote to standard error.
pub(super) fn run(command: &mut Command, line: Option<&str>, limit: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdin = if line.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(&name, &error))?;
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let input = child.stdin.take().zip(line).map(|(stdin, line)| feed(stdin, format!("{line}\n")));
    let mut running = Running { child, _input: input };
    let status = wait(&mut running.child, limit)
        .map_err(|error| format!("{name} cannot be waited for: {error}"))?
        .ok_or_else(|| format!("{name} was stopped, because it took longer than {} s", limit.as_secs()))?;
    let output = stdout.recv_timeout(OUTPUT_TIME_MAX).unwrap_or_default();
    if status.success() {
        return Ok(output);
    }
    let complaint = stderr.recv_timeout(OUTPUT_TIME_MAX).unwrap_or_default();
    Err(format!("{name} failed ({status}): {}", ending(&complaint)))
}

fn not_started(name: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        format!("{name} is not on the PATH")
    } else {
        format!("{name} cannot be started: {error}")
    }
}

/// `None` when the limit is over first.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Writes on a thread of its own, because a program that does not read would hold up the caller beyond the limit; its death
/// ends the writing. Standard input is closed when the value that is given back is dropped.
fn feed(mut stdin: ChildStdin, text: String) -> Sender<()> {
    let (sender, receiver) = channel::<()>();
    thread::spawn(move || {
        // A program that has died already says more with its status than a broken pipe would.
        let _ = stdin.write_all(text.as_bytes());
        // Nothing is ever sent: this waits for the sender to be dropped.
        let _ = receiver.recv();
    });
    sender
}

/// Reads on a thread of its own, because a program that nobody reads from stops.
fn gather(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is what there is to tell; the rest is read and dropped.
            let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
            let _ = io::copy(&mut pipe, &mut io::sink());
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    receiver
}

/// The last lines of a complaint, as one.
fn ending(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" / ");
    let skipped = last.chars().count().saturating_sub(COMPLAINT_CHARS_MAX);
    if last.is_empty() { "it did not say why".to_owned() } else { last.chars().skip(skipped).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_line_goes_in_and_the_output_comes_back() {
        let output = run(&mut shell("read line; echo \"got $line\""), Some("{1}"), LONG);
        assert_eq!(output, Ok("got {1}\n".to_owned()));
    }

    #[test]
    fn a_failure_is_told_in_the_programs_words() {
        let error = run(&mut shell("echo one >&2; echo no such thing >&2; exit 3"), None, LONG).unwrap_err();
        assert_eq!(error, "sh failed (exit status: 3): one / no such thing");
        let error = run(&mut Command::new("darkroom-no-such-program"), None, LONG).unwrap_err();
        assert_eq!(error, "darkroom-no-such-program is not on the PATH");
    }

    #[test]
    fn what_takes_too_long_is_stopped() {
        // It waits for the end of its input, which stays open.
        let error = run(&mut Command::new("cat"), Some(""), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error, "cat was stopped, because it took longer than 0 s");
    }

    #[test]
    fn a_program_that_reads_nothing_is_stopped_as_well() {
        let more_than_a_pipe_holds = "x".repeat(1 << 20);
        let limit = Duration::from_millis(50);
        let mut idle = Command::new("sleep");
        let error = run(idle.arg("60"), Some(&more_than_a_pipe_holds), limit).unwrap_err();
        assert_eq!(error, "sleep was stopped, because it took longer than 0 s");
    }

    #[test]
    fn much_output_neither_blocks_nor_grows() {
        let output = run(&mut shell("head -c 5000000 /dev/zero"), None, LONG).unwrap();
        assert_eq!(output.len() as u64, OUTPUT_BYTES_MAX);
    }
}
