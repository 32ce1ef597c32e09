//! On what was measured.

use std::env::consts::{ARCH, OS};
use std::fs;

/// Processor and operating system in one sentence, as far as they can be told.
pub(super) fn machine(cores: usize) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (cpuinfo, release) = (read("/proc/cpuinfo"), read("/etc/os-release"));
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = value(&cpuinfo, "model name", ':').unwrap_or(ARCH);
    let system = value(&release, "PRETTY_NAME", '=').unwrap_or(OS);
    format!("{model}, {cores} cores, {system}, {OS} {}", kernel.trim())
}

/// Of the first line with this key, without quotes.
fn value<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    let found = text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().trim_matches('"'))
    });
    found.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_keys_and_values_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: Other\n";
        assert_eq!(value(cpuinfo, "model name", ':'), Some("Some CPU @ 2.00GHz"));
        assert_eq!(value("NAME=\"A\"\nPRETTY_NAME=\"A 1\"\n", "PRETTY_NAME", '='), Some("A 1"));
        assert_eq!(value("PRETTY_NAME=\"\"\n", "PRETTY_NAME", '='), None);
        assert!(machine(7).contains(", 7 cores, "));
    }
}
