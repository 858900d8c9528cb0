//! Names of the inventory: in them the vCenter writes `/`, `\` and `%` as `%2f`, `%5c` and `%25`.

/// The name as people wrote it.
pub(super) fn decoded(name: &str) -> String {
    let mut decoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).unwrap_or_default();
        let (character, length) = match code {
            "2f" | "2F" => ('/', 3),
            "5c" | "5C" => ('\\', 3),
            "25" => ('%', 3),
            _ => ('%', 1),
        };
        decoded.push(character);
        rest = &rest[at + length..];
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_characters_are_decoded() {
        assert_eq!(decoded("a%2fb%5Cc%25d"), "a/b\\c%d");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%41%2"), "%41%2");
        assert_eq!(decoded("%é%2f"), "%é/");
        assert_eq!(decoded("%252f"), "%2f");
    }
}
