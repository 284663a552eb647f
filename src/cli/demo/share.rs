//! Who indexes which file, without anybody deciding it: rendezvous hashing. Layer 7.
//!
//! Every agent scores every pair of agent and file by the same hash, and a file belongs to the agent with the highest
//! score (Thaler and Ravishankar, 1998). No message is needed to agree, and losing an agent moves only its own files.

/// The agent that `file` belongs to; `None` when there are no agents.
pub(super) fn owner<'n>(file: &str, agents: &'n [String]) -> Option<&'n str> {
    agents.iter().max_by_key(|agent| score(agent, file)).map(String::as_str)
}

/// The files of one agent.
pub(super) fn share<'f>(agent: &str, agents: &[String], files: &'f [String]) -> Vec<&'f str> {
    files.iter().map(String::as_str).filter(|file| owner(file, agents) == Some(agent)).collect()
}

/// FNV-1a, then the finaliser of MurmurHash3: names that differ in their last letter score far apart.
fn score(agent: &str, file: &str) -> u64 {
    let bytes = agent.bytes().chain([0]).chain(file.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("{prefix}-{number}")).collect()
    }

    #[test]
    fn every_file_belongs_to_exactly_one_agent_and_shares_are_similar() {
        let (agents, files) = (names("indexer", 6), names("src/file", 600));
        let sizes: Vec<usize> = agents.iter().map(|agent| share(agent, &agents, &files).len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), files.len());
        assert!(sizes.iter().all(|size| (60..=140).contains(size)), "{sizes:?}");
    }

    #[test]
    fn without_one_agent_only_its_files_move() {
        let (agents, files) = (names("indexer", 6), names("src/file", 200));
        let fewer: Vec<String> = agents.iter().filter(|agent| *agent != "indexer-3").cloned().collect();
        for file in &files {
            let before = owner(file, &agents);
            assert!(before == owner(file, &fewer) || before == Some("indexer-3"), "{file}");
        }
    }
}
