//! Rust text without comments, strings and characters, cut into words: as much of a parser as the checks need.

/// One word or sign of the code, with its line from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The words and signs of `source`. `::` is one sign; literals and comments are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < chars.len() {
        let from = at;
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        match c {
            '/' if next == Some('/') => at = end_of_line(&chars, at),
            '/' if next == Some('*') => at = end_of_block_comment(&chars, at),
            '"' => at = end_of_string(&chars, at),
            '\'' => at = end_of_character_or_lifetime(&chars, at),
            ':' if next == Some(':') => {
                found.push(Token { line, text: "::".to_owned() });
                at += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                at = word_end(&chars, at);
                let word: String = chars[from..at].iter().collect();
                match raw_string(&chars, at, &word) {
                    Some(end) => at = end,
                    None => found.push(Token { line, text: word }),
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token { line, text: c.to_string() });
                }
                at += 1;
            }
        }
        line += chars[from..at].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn word_end(chars: &[char], at: usize) -> usize {
    let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
    at + length
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// After a quote: a character ends with a quote, a lifetime does not.
fn end_of_character_or_lifetime(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let after = chars.get(at + 3..).unwrap_or_default();
        return after.iter().position(|c| *c == '\'').map_or(chars.len(), |length| at + length + 4);
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { word_end(chars, at + 1).max(at + 1) }
}

/// The end of `r"…"`, `br#"…"#` and the like, when `word` is such a prefix.
fn raw_string(chars: &[char], at: usize, word: &str) -> Option<usize> {
    if !matches!(word, "r" | "br" | "cr") {
        return None;
    }
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_left_out() {
        let source = r###"a // b
            /* c /* d */ e */ f "g \" h" r#"i " j"# 'k' '\'' 'static l b"m" "###;
        assert_eq!(words(source), ["a", "f", "l", "b"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let found = tokens("/* one\ntwo */ \"three\nfour\" word");
        assert_eq!(found, [Token { line: 3, text: "word".to_owned() }]);
    }

    #[test]
    fn text_that_ends_early_ends_the_tokens() {
        for source in ["\"", "'", "'\\", "/*", "r#\"", "//", "a::"] {
            tokens(source);
        }
    }
}
