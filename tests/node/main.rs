//! The node as a machine: what goes in, what comes out, at which time. No socket, no clock, no thread.

mod bounds;
mod durability;
mod flow;
mod world;
