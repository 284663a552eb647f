//! Chunks written by hand, and changes made by another program.
