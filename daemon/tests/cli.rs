//! The command line itself. That these tests exist also has cargo build the binary that the end-to-end
//! tests run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn darkroomd(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_darkroomd")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn help_names_every_command() {
    let (fine, help) = darkroomd(&["--help"]);
    assert!(fine);
    for command in ["serve", "check-config", "default-config", "janitor", "actors", "bucket"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn the_default_configuration_is_printed_and_accepted() {
    let (fine, text) = darkroomd(&["default-config"]);
    assert!(fine && text.contains("[budgets]"));
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("darkroom.toml");
    std::fs::write(&file, text).unwrap();
    let (fine, text) = darkroomd(&["check-config", "--config", file.to_str().unwrap()]);
    assert!(fine, "{text}");
}

#[test]
fn a_missing_configuration_file_is_named() {
    let (fine, text) = darkroomd(&["serve", "--config", "/nowhere.toml"]);
    assert!(!fine && text.contains("/nowhere.toml"), "{text}");
}
