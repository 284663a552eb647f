//! Makes what a browser loads out of a compiled module: the module itself, its JavaScript and their types.
//!
//! The command of wasm-bindgen does the same, and takes minutes longer to compile.

use std::{error::Error, fs, path::Path, process::ExitCode};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = arguments.as_slice() else {
        eprintln!("usage: aepoch-bindgen MODULE.wasm FOLDER");
        return ExitCode::from(2);
    };
    match generate(module, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate(module: &str, folder: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).web(true)?.typescript(true).remove_name_section(true).remove_producers_section(true);
    // Makes the module anew after a panic.
    bindgen.reset_state_function(true);
    bindgen.generate(folder)?;
    let stem = Path::new(module).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let script = Path::new(folder).join(format!("{stem}.js"));
    fs::write(&script, guarded(&fs::read_to_string(&script)?)?)?;
    let types = Path::new(folder).join(format!("{stem}.d.ts"));
    fs::write(&types, fs::read_to_string(&types)? + ON_TRAP_TYPE)?;
    Ok(())
}

const ON_TRAP: &str = "
let trapped = () => false;

/** Hears of what a callback of the module has thrown; where it says true, that goes no further. */
export function onTrap(heard) {
    trapped = heard;
}
";

const ON_TRAP_TYPE: &str = "
/** Hears of what a callback of the module has thrown; where it says true, that goes no further. */
export function onTrap(heard: (thrown: unknown) => boolean): void;
";

/// What the page keeps calling when the module has failed: timers, sockets, promises. What they throw nobody catches (in
/// Node it ends the process), so a trap is told to whoever makes the module anew, and callbacks of the one before do
/// nothing.
fn guarded(script: &str) -> Result<String, String> {
    let replace = |script: String, from: &str, to: &str| {
        if script.contains(from) {
            Ok(script.replace(from, to))
        } else {
            Err(format!("wasm-bindgen writes no `{from}`"))
        }
    };
    let stale = "throw new Error('Cannot invoke closure from previous WASM instance');";
    let script = replace(script.to_owned(), stale, "return;")?;
    let call = "return f(a, state.b, ...args);\n        }";
    let script = replace(
        script,
        call,
        &format!("{call} catch (thrown) {{\n            if (!trapped(thrown)) throw thrown;\n        }}"),
    )?;
    Ok(script + ON_TRAP)
}
