//! Embeds the dashboard in the relay: a table of the files of `www/dist`, empty where nobody has built it.
#![allow(clippy::unwrap_used, reason = "a build fails by panicking")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_RELAY").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=www/dist");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("www/dist");
    let mut files = Vec::new();
    list(&root, &mut files);
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        table += &format!("    (\"/{path}\", include_bytes!({file:?})),\n");
    }
    table += "]\n";
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("dashboard.rs"), table).unwrap();
}

/// The files below a folder, without hidden ones. A folder that is not there has none.
fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
