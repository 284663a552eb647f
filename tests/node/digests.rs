//! Digests between nodes: an answer fits into a message however much there is to tell.

use aepoch::{
    document::{Comparison, DigestEntry},
    id::LinkId,
    limits,
    node::Event,
};

use crate::world::{World, document, tuning};

/// The agent's end of the first wire.
const AT_AGENT: LinkId = LinkId(0);

/// The relay's digest of a path, as the agent hears it.
fn ask(world: &mut World, path: &str) -> Vec<DigestEntry> {
    world.hosts[1].events.clear();
    world.hosts[1].node.request_digest(AT_AGENT, &document(), path);
    world.pump();
    assert!(world.hosts[0].closed.is_empty(), "at `{path}` the relay hung up: {:?}", world.hosts[0].closed);
    let answer = world.hosts[1].events.drain(..).find_map(|event| match event {
        Event::Digest { path: of, entries, .. } if of == path => Some(entries),
        _ => None,
    });
    answer.unwrap_or_else(|| panic!("no answer about `{path}`"))
}

#[test]
fn an_agent_finds_its_unsent_write_among_200_000_registers() {
    let mut world = World::new(1, &tuning());
    for start in (0..200_000_u64).step_by(10_000) {
        let now = world.now;
        let plan = |tx: &mut aepoch::document::Transaction<'_>| {
            (start..start + 10_000).try_for_each(|n| tx.register(&format!("task/{n:06}")).set(&n))
        };
        world.hosts[1].node.transact(&document(), plan, now).unwrap();
        world.pass(std::time::Duration::from_millis(50));
    }
    world.assert_equal();
    // Nothing leaves before the next pass of time, so the write stays unsent while the digests come and go.
    for n in 1..=3 {
        world.set(1, "task/123456", n);
    }
    let mut path = String::new();
    for trip in 1.. {
        let theirs = ask(&mut world, &path);
        assert!(theirs.len() <= limits::DIGEST_LINES, "{} lines at `{path}`", theirs.len());
        let compared = world.hosts[1].node.read(&document(), |document| document.compare(&path, &theirs)).unwrap();
        match compared.unwrap() {
            Comparison::Below(next) => path = next,
            Comparison::Differs(at) => {
                assert_eq!((at.as_str(), trip), ("register/task/123456", 4));
                break;
            }
            Comparison::Equal => panic!("the relay cannot have what was not sent"),
        }
    }
}
