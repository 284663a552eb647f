//! Locked dependencies against known advisories. The advisory database needs the network; these floors do not.

/// Crate, lowest version without a known advisory that touches us, and the advisory or the reason.
const FLOORS: [(&str, [u64; 3], &str); 11] = [
    ("crossbeam-epoch", [0, 9, 20], "unsound pointer formatting in earlier versions"),
    ("curve25519-dalek", [4, 1, 3], "RUSTSEC-2024-0344"),
    ("jsonwebtoken", [10, 3, 0], "CVE-2026-25537"),
    ("lru", [0, 16, 3], "unsound iterator in earlier versions"),
    ("quinn-proto", [0, 11, 15], "RUSTSEC-2026-0185, RUSTSEC-2026-0037"),
    ("rustls", [0, 23, 45], "RUSTSEC-2026-0285"),
    ("rustls-webpki", [0, 103, 13], "RUSTSEC-2026-0098, -0099, -0104"),
    ("time", [0, 3, 47], "stack exhaustion in earlier versions"),
    ("tracing-subscriber", [0, 3, 20], "RUSTSEC-2025-0055"),
    ("tungstenite", [0, 20, 1], "RUSTSEC-2023-0065"),
    ("yrs", [0, 28, 1], "earlier versions build strings from unchecked bytes"),
];

/// Crates that have no version without an advisory.
const REFUSED: [(&str, &str); 2] = [("bincode", "RUSTSEC-2025-0141"), ("rsa", "RUSTSEC-2023-0071")];

/// Complains about locked packages below their floor.
pub(crate) fn below_floor(lock: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, version) in packages(lock) {
        let floor = FLOORS.iter().find(|(floored, ..)| *floored == name);
        if let Some((_, floor, why)) = floor
            && numbers(version).is_none_or(|version| version < *floor)
        {
            let [major, minor, patch] = floor;
            complaints.push(format!("{name} {version} is below {major}.{minor}.{patch}: {why}"));
        }
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            complaints.push(format!("{name} {version} must not be used: {why}"));
        }
    }
    complaints
}

fn packages(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    lock.split("[[package]]").skip(1).filter_map(|package| Some((field(package, "name")?, field(package, "version")?)))
}

fn field<'a>(package: &'a str, name: &str) -> Option<&'a str> {
    let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
    line.strip_suffix('"')
}

/// `None` for a pre-release: whether it has the fixes of any release is anyone's guess.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let release = version.split('+').next()?;
    let mut parts = release.splitn(3, '.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(name: &str, version: &str) -> String {
        format!(
            "version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"lru\",\n]\n"
        )
    }

    #[test]
    fn a_version_below_its_floor_is_found() {
        assert_eq!(below_floor(&locked("rustls", "0.23.44")).len(), 1);
        assert_eq!(below_floor(&locked("rustls", "0.24.0-dev.1")).len(), 1);
        assert_eq!(below_floor(&locked("rustls", "0.23.45")), Vec::<String>::new());
        assert_eq!(below_floor(&locked("rustls", "1.0.0")), Vec::<String>::new());
    }

    #[test]
    fn a_refused_crate_is_found_at_any_version() {
        assert_eq!(below_floor(&locked("rsa", "99.0.0")).len(), 1);
    }

    #[test]
    fn the_lock_file_is_really_read() {
        let lock = crate::read("Cargo.lock").unwrap();
        assert!(packages(&lock).any(|(name, version)| name == "serde" && numbers(version) >= Some([1, 0, 0])));
    }
}
