//! Which rooms, and what may be done in them: patterns and rights, all denied by default. Layer 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{AgentId, DocumentId, NameError},
    limits,
};

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A segment is neither a name nor `*` nor `**`.
    #[error("a segment of a pattern is a name, `*`, or `**` at the end: {0}")]
    Segment(#[from] NameError),
    /// `**` stands before the end.
    #[error("`**` may only be the last segment of `{0}`")]
    Rest(String),
    /// More segments than a room can have.
    #[error("{count} segments in a pattern are over the limit of {max}", max = limits::NAME_SEGMENTS)]
    TooDeep {
        /// Segments given.
        count: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    /// This very name. A segment of a room and the name of an agent obey the same rules.
    Name(AgentId),
    /// Any one segment.
    One,
    /// One segment or more, at the end.
    Rest,
}

/// Rooms by name: at most 8 segments, each a name, `*` for any one segment, or, last, `**` for one or more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomPattern(Vec<Segment>);

impl RoomPattern {
    /// True when the room is one of those meant.
    pub fn matches(&self, room: &DocumentId) -> bool {
        let mut names = room.as_str().split('/');
        for segment in &self.0 {
            match (segment, names.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::One, Some(_)) => {}
                (Segment::Name(wanted), Some(name)) if wanted.as_str() == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// True when this pattern matches every room that `other` matches. `*` is not taken to cover `**`, however deep.
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.0.iter();
        for segment in &self.0 {
            match (segment, others.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::One, Some(Segment::One | Segment::Name(_))) => {}
                (Segment::Name(wanted), Some(Segment::Name(name))) if wanted == name => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }
}

impl FromStr for RoomPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let count = text.split('/').count();
        if count > limits::NAME_SEGMENTS {
            return Err(PatternError::TooDeep { count });
        }
        let segment = |(at, name): (usize, &str)| match name {
            "*" => Ok(Segment::One),
            "**" if at + 1 == count => Ok(Segment::Rest),
            "**" => Err(PatternError::Rest(text.chars().take(80).collect())),
            name => Ok(Segment::Name(AgentId::new(name)?)),
        };
        text.split('/').enumerate().map(segment).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "/" })?;
            f.write_str(match segment {
                Segment::Name(name) => name.as_str(),
                Segment::One => "*",
                Segment::Rest => "**",
            })?;
        }
        Ok(())
    }
}

impl TryFrom<String> for RoomPattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<RoomPattern> for String {
    fn from(pattern: RoomPattern) -> Self {
        pattern.to_string()
    }
}

/// One thing that may be done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Receive its content and records.
    Read,
    /// Change its content and records.
    Write,
    /// Be seen in it.
    Presence,
    /// Take part in barriers, epochs, polls and queues.
    Coordinate,
    /// Replace its history by a snapshot.
    Compact,
    /// Whatever else changes the room for everybody.
    Admin,
}

impl Right {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Presence, Self::Coordinate, Self::Compact, Self::Admin];

    /// Its name, as credentials spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Presence => "presence",
            Self::Coordinate => "coordinate",
            Self::Compact => "compact",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Right {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|right| right.name() == text);
        found.ok_or_else(|| format!("`{text}` is no right: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Rights in the rooms of one pattern. No right implies another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The rooms.
    #[serde(rename = "p")]
    pub rooms: RoomPattern,
    /// What may be done there.
    #[serde(rename = "a")]
    pub rights: Vec<Right>,
}

/// True when one of the grants allows it: what is not granted is denied.
pub fn allows(grants: &[Grant], room: &DocumentId, right: Right) -> bool {
    grants.iter().any(|grant| grant.rights.contains(&right) && grant.rooms.matches(room))
}

/// True when `grants` allow whatever `grant` does. Each right must be covered by a single grant.
pub fn covers(grants: &[Grant], grant: &Grant) -> bool {
    let covered = |right| grants.iter().any(|own| own.rights.contains(right) && own.rooms.covers(&grant.rooms));
    grant.rights.iter().all(covered)
}
