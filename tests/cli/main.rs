//! The program as its users meet it: the built binary, its texts, its exit codes, and a relay it serves.

mod demo;
mod program;
mod relay;
mod stores;
mod texts;
