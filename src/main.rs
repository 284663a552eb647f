//! The `aepoch` program: a relay, a demo, and tools for documents and stores. Layer 6.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
