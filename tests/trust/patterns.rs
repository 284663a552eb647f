//! Room patterns, rights and tiers.

use aepoch::trust::pattern::{Grant, PatternError, Right, RoomPattern, Scope, covers};

fn matches(pattern: &str, room: &str) -> bool {
    pattern.parse::<RoomPattern>().unwrap().matches(&room.parse().unwrap())
}

#[test]
fn a_star_is_one_segment_and_two_are_all_that_follow() {
    for (pattern, room) in [("a/*", "a/b"), ("a/**", "a/b/c"), ("**", "a"), ("*", "a"), ("a/*/c", "a/b/c"), ("a", "a")]
    {
        assert!(matches(pattern, room), "{pattern} {room}");
    }
    for (pattern, room) in
        [("a/*", "a/b/c"), ("a/*", "a"), ("a/**", "a"), ("a", "a/b"), ("a/b", "a"), ("*", "a/b"), ("a.b", "aab")]
    {
        assert!(!matches(pattern, room), "{pattern} {room}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_what_is_wrong() {
    let refusal = |text: &str| text.parse::<RoomPattern>().unwrap_err();
    assert!(matches!(refusal("a/**/b"), PatternError::Rest(_)));
    assert_eq!(refusal("a/b/c/d/e/f/g/h/i"), PatternError::TooDeep { count: 9 });
    for text in ["", "a//b", "A", "a/b*", "***", "a/.+/[b]", "a/b/", &"a".repeat(65)] {
        assert!(matches!(refusal(text), PatternError::Segment(_)), "{text}");
    }
}

fn grant(rights: &[Right], keys: Option<&[&str]>) -> Grant {
    let keys = keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
    Grant { rooms: "a/*".parse().unwrap(), rights: rights.to_vec(), keys }
}

#[test]
fn no_right_implies_another_and_no_grant_allows_nothing() {
    let room = "a/b".parse().unwrap();
    for given in Right::ALL {
        let scope = Scope::of(&[grant(&[given], None)], &room);
        let allowed: Vec<Right> = Right::ALL.into_iter().filter(|right| scope.allows(*right)).collect();
        assert_eq!(allowed, [given]);
        assert_eq!(scope.allows_content(), given == Right::Write);
    }
    assert_eq!(Scope::of(&[], &room), Scope::nothing());
    assert!(Right::ALL.into_iter().all(|right| !Scope::nothing().allows(right)));
}

/// Case 32 as well: a star stands for one segment.
#[test]
fn case_32_paths_confine_writing_to_records_below_them() {
    let write = [Right::Write];
    let below = grant(&write, Some(&["register/jobs", "counter"]));
    let below_alone = std::slice::from_ref(&below);
    let scope = Scope::of(below_alone, &"a/b".parse().unwrap());
    assert!(!scope.allows_content());
    for (path, allowed) in [
        ("register/jobs", true),
        ("register/jobs/1", true),
        ("register/jobs2", false),
        ("register", false),
        ("counter/takes", true),
        ("agent/w1/position", false),
    ] {
        assert_eq!(scope.allows_record(path), allowed, "{path}");
    }
    assert_eq!(Scope::of(below_alone, &"a/b/c".parse().unwrap()), Scope::nothing());
    // Two grants together allow what either does.
    let both = Scope::of(&[below.clone(), grant(&write, None)], &"a/b".parse().unwrap());
    assert!(both.allows_content() && both.allows_record("register/other"));
    // What is passed on may be confined further, and not less.
    assert!(covers(below_alone, &grant(&write, Some(&["register/jobs/1"]))));
    assert!(!covers(below_alone, &grant(&write, Some(&["register"]))));
    assert!(!covers(&[below], &grant(&write, None)));
    assert!(covers(&[grant(&write, None)], &grant(&write, Some(&["register"]))));
}

#[test]
fn a_pattern_covers_what_is_within_it_and_a_star_covers_no_two() {
    let covers = |wide: &str, narrow: &str| wide.parse::<RoomPattern>().unwrap().covers(&narrow.parse().unwrap());
    for (wide, narrow) in [("**", "*"), ("**", "a/**"), ("a/*", "a/b"), ("a/**", "a/*/c"), ("*/**", "a/**"), ("a", "a")]
    {
        assert!(covers(wide, narrow), "{wide} {narrow}");
    }
    for (wide, narrow) in [("a/*", "a/**"), ("*", "**"), ("a/b", "a/*"), ("a/**", "a"), ("a", "a/b"), ("*/**", "**")] {
        assert!(!covers(wide, narrow), "{wide} {narrow}");
    }
}
