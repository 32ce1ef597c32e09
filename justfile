# What is done often. `just` alone lists it.

default:
    @just --list

# Format, lints, licences and advisories: what CI checks before it tests.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy -p darkroomd -p darkroom-media --all-targets --all-features -- -D warnings
    if command -v cargo-deny > /dev/null; then cargo deny check; else echo 'cargo-deny is not installed: cargo install cargo-deny --locked'; fi

# Every test of the default build.
test:
    cargo test --workspace

# The clients that uploads are tested with (needs npm and python3); without them those tests are skipped.
install-clients:
    tests/clients/install

# The tests of the photo engine with every optional format.
test-features:
    cargo test -p darkroom-media --all-features

# The end-to-end tests at full size: 200 photos of 12 MP, 100 kills, on an optimised daemon.
test-full:
    cargo build --release -p darkroomd
    DARKROOMD_BIN="$PWD/target/release/darkroomd" DARKROOM_TEST_PHOTOS=200 DARKROOM_TEST_KILLS=100 DARKROOM_TEST_KILL_WIDTH=4032 \
        cargo test --release -p darkroom-tests -- --nocapture --test-threads 1

# Photos per second through the ladder, by threads and stage.
bench *arguments:
    cargo run --release -p darkroom-bench -- resize {{arguments}}

# The daemon, with its data in ./darkroom-data.
run *arguments:
    cargo run --release -- {{arguments}}
