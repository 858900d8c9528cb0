//! Just enough of Rust's grammar: tokens without comments and literals, test code cut out, and the paths that are named.

/// A word, `::`, or one other character, and its line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path such as `crate::model::Bytes`, with groups of a `use` spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// Splits source text into tokens. Comments and the contents of literals are dropped.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let length = token_length(&chars[at..]);
        let piece = &chars[at..at + length];
        if is_kept(piece) {
            found.push(Token {
                text: word_of(piece),
                line,
            });
        }
        line += piece.iter().filter(|c| **c == '\n').count();
        at += length;
    }
    found
}

/// A raw identifier means the same as the plain one.
fn word_of(piece: &[char]) -> String {
    let word: String = piece.iter().collect();
    word.strip_prefix("r#").map(str::to_owned).unwrap_or(word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_kept(piece: &[char]) -> bool {
    match piece {
        ['/', '/' | '*', ..] | ['"', ..] | ['\'', ..] => false,
        ['r' | 'b' | 'c', rest @ ..] if rest.contains(&'"') || rest.first() == Some(&'\'') => false,
        [first, ..] => !first.is_whitespace(),
        [] => false,
    }
}

/// How many characters the token, comment or blank at the start of `rest` has; at least one.
fn token_length(rest: &[char]) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => quoted_length(rest, '"'),
        ['b' | 'c', '"', ..] => 1 + quoted_length(&rest[1..], '"'),
        ['b', '\'', ..] => 1 + quoted_length(&rest[1..], '\''),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted_length(rest, '\''),
        ['\'', ..] => 1 + rest[1..].iter().take_while(|c| is_word(**c)).count(), // a lifetime
        ['r', ..] | ['b' | 'c', 'r', ..] => raw_string_length(rest).unwrap_or_else(|| word_length(rest)),
        [':', ':', ..] => 2,
        [first, ..] if is_word(*first) => word_length(rest),
        _ => 1,
    }
}

fn word_length(rest: &[char]) -> usize {
    let prefix = if matches!(rest, ['r', '#', c, ..] if is_word(*c)) {
        2
    } else {
        0
    };
    prefix + rest[prefix..].iter().take_while(|c| is_word(**c)).count()
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string_length(rest: &[char]) -> Option<usize> {
    let start = rest.iter().position(|c| *c == 'r')? + 1;
    let hashes = rest[start..].iter().take_while(|c| **c == '#').count();
    if rest.get(start + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let body = start + hashes + 1;
    let length = rest[body..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| body + length + end.len()))
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Test code of a file: lines it takes, and modules declared in it whose files are test code too.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCode {
    pub(crate) lines: usize,
    pub(crate) modules: Vec<String>,
}

/// Cuts out the items under `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, TestCode) {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut cut, mut at) = (Vec::new(), TestCode::default(), 0);
    while at < tokens.len() {
        if !tokens[at..]
            .iter()
            .map(|token| token.text.as_str())
            .take(ATTRIBUTE.len())
            .eq(ATTRIBUTE)
        {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let item = &tokens[at..at + item_length(&tokens[at..], ATTRIBUTE.len())];
        cut.lines += item.last().map_or(0, |last| last.line - item[0].line + 1);
        if let Some(name) = declared_module(item) {
            cut.modules.push(name);
        }
        at += item.len();
    }
    (kept, cut)
}

/// The name in `mod name;` at the end of an item.
fn declared_module(item: &[Token]) -> Option<String> {
    let [.., keyword, name, end] = item else {
        return None;
    };
    (keyword.text == "mod" && end.text == ";").then(|| name.text.clone())
}

/// Up to and with the closing brace of the item, or the semicolon that ends it.
fn item_length(tokens: &[Token], attribute: usize) -> usize {
    let mut depth = 0_i32;
    for (index, token) in tokens.iter().enumerate().skip(attribute) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token.text == "}" || token.text == ";") {
            return index + 1;
        }
    }
    tokens.len()
}

/// Every path with at least two segments that the tokens name.
pub(crate) fn paths(tokens: &[Token]) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let continues = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if is_name(&tokens[at]) && continues {
            at = read_path(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn is_name(token: &Token) -> bool {
    token.text.starts_with(is_word)
}

/// Reads the path that starts at `at`, after `prefix`. Returns where it ends.
fn read_path(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].line;
    loop {
        match tokens.get(at) {
            Some(token) if is_name(token) => segments.push(token.text.clone()),
            Some(token) if token.text == "{" => return read_group(tokens, at + 1, &segments, found),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    found.push(NamedPath { segments, line });
    at
}

/// Reads what stands between the braces of a `use`. Returns where the closing one ends.
fn read_group(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    while let Some(token) = tokens.get(at) {
        if token.text == "}" {
            return at + 1;
        }
        let is_start = is_name(token) && tokens[at - 1].text != "as" && token.text != "as";
        at = if is_start {
            read_path(tokens, at, prefix, found)
        } else {
            at + 1
        };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        paths(&tokens(text))
            .into_iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn groups_are_spelled_out() {
        let text = "use crate::{model::{Bytes, id as other}, store};\nuse std::{fs, io::Write};";
        let expected = [
            "crate::model::Bytes",
            "crate::model::id",
            "crate::store",
            "std::fs",
            "std::io::Write",
        ];
        assert_eq!(named(text), expected);
    }

    #[test]
    fn paths_in_code_are_seen_with_their_lines() {
        let found = paths(&tokens(
            "fn f(\n  x: crate::api::X) {\n crate::store::Db::<u8>::open() }",
        ));
        let lines: Vec<usize> = found.iter().map(|path| path.line).collect();
        assert_eq!(lines[..2], [2, 3]);
        assert_eq!(found[1].segments, ["crate", "store", "Db"]);
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = r##"// crate::a::x
            /* crate::b::x /* nested */ crate::c::x */
            let s = "crate::d::x \" crate::e::x"; let r = r#"crate::f::x " "#; let b = b"crate::g::x";
            let c = '"'; let d = '\''; fn f<'a>(x: &'a str) {} crate::real::x"##;
        assert_eq!(named(text), ["crate::real::x"]);
    }

    #[test]
    fn a_raw_identifier_is_a_word() {
        assert_eq!(
            named("crate::r#async::x; r#crate::y"),
            ["crate::async::x", "crate::y"]
        );
    }

    #[test]
    fn test_code_is_cut_out_and_nothing_else() {
        let text = "use crate::a::x;\n#[cfg(test)]\nmod tests {\n fn f() { [1; 2]; crate::b::x(); }\n}\n\
            #[cfg(test)]\nmod far;\nuse crate::c::x;\n#[cfg(not(test))]\nuse crate::d::x;";
        let (kept, cut) = without_tests(&tokens(text));
        let names: Vec<String> = paths(&kept)
            .into_iter()
            .map(|path| path.segments.join("::"))
            .collect();
        assert_eq!(names, ["crate::a::x", "crate::c::x", "crate::d::x"]);
        assert_eq!(
            cut,
            TestCode {
                lines: 6,
                modules: vec!["far".into()]
            }
        );
    }
}
