//! Room patterns, rights and tiers.

use aepoch::tier::Tier;
use aepoch::trust::{
    pattern::{Grant, PatternError, Right, RoomPattern, allows},
    tier::effective_tier,
};

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

#[test]
fn no_right_implies_another_and_no_grant_allows_nothing() {
    let room = "a/b".parse().unwrap();
    for given in Right::ALL {
        let grants = [Grant { rooms: "a/*".parse().unwrap(), rights: vec![given] }];
        let allowed: Vec<Right> = Right::ALL.into_iter().filter(|right| allows(&grants, &room, *right)).collect();
        assert_eq!(allowed, [given]);
    }
    assert!(!allows(&[], &room, Right::Read));
}

#[test]
fn the_lowest_of_four_tiers_counts() {
    let [alpha, beta, gamma] = [Tier::ALPHA, Tier::BETA, Tier::GAMMA];
    assert_eq!(effective_tier(alpha, alpha, alpha, alpha), alpha);
    for lowest in 0..4 {
        let mut tiers = [alpha, alpha, beta, alpha];
        tiers[lowest] = gamma;
        assert_eq!(effective_tier(tiers[0], tiers[1], tiers[2], tiers[3]), gamma);
    }
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
