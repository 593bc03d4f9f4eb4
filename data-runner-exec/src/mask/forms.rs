//! The forms in which a value may turn up in output.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Shorter values are not searched for.
const SHORTEST: usize = 4;

/// Parts of a value (its lines, the inner part of its base64) that are shorter than this would be found by chance.
const SHORTEST_PART: usize = 8;

/// Where programs break base64 into lines: MIME and coreutils, PEM and OpenSSL.
const LINE_LENGTHS: [usize; 2] = [76, 64];

/// What percent-encoders leave as it is beside letters and digits: RFC 3986, Python's `quote`, forms, JavaScript's
/// `encodeURIComponent`, and `encodeURI`.
const LEFT_AS_IT_IS: [&[u8]; 5] = [b"-._~", b"-._~/", b"-._*", b"-._~!'()*", b"-._~!'()*;/?:@&=+$,#"];

/// Every form of `value` that is masked.
pub(super) fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    if value.len() < SHORTEST {
        return forms;
    }
    forms.insert(value.as_bytes().to_vec());
    let lines = value.lines().filter(|line| line.len() >= SHORTEST_PART);
    forms.extend(lines.map(|line| line.as_bytes().to_vec()));
    forms.extend(percent_encoded(value));
    forms.extend(in_json(value));
    forms.extend(in_base64(value.as_bytes()));
    forms
}

fn percent_encoded(value: &str) -> impl Iterator<Item = Vec<u8>> {
    LEFT_AS_IT_IS.into_iter().flat_map(move |left| {
        let encode = move |space: &str, upper: bool| {
            let mut text = String::with_capacity(value.len() * 2);
            for &byte in value.as_bytes() {
                // Writing into a String cannot fail.
                let _ = match byte {
                    b' ' => write!(text, "{space}"),
                    _ if byte.is_ascii_alphanumeric() || left.contains(&byte) => {
                        write!(text, "{}", char::from(byte))
                    }
                    _ if upper => write!(text, "%{byte:02X}"),
                    _ => write!(text, "%{byte:02x}"),
                };
            }
            text.into_bytes()
        };
        [encode("%20", true), encode("%20", false), encode("+", true), encode("+", false)]
    })
}

/// As it stands in JSON: with other characters as they are, and with all of them escaped.
fn in_json(value: &str) -> [Vec<u8>; 2] {
    let (mut some, mut all) = (String::new(), String::new());
    for character in value.chars() {
        let short = match character {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            _ => None,
        };
        match short {
            Some(short) => {
                some.push_str(short);
                all.push_str(short);
            }
            None if character.is_ascii() && !character.is_ascii_control() => {
                some.push(character);
                all.push(character);
            }
            None => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(all, "\\u{unit:04x}");
                }
                if character.is_ascii_control() {
                    let _ = write!(some, "\\u{:04x}", u32::from(character));
                } else {
                    some.push(character);
                }
            }
        }
    }
    [some.into_bytes(), all.into_bytes()]
}

fn in_base64(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.insert(engine.encode(value).into_bytes());
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let inner = inner_part(engine, value, before);
            if inner.len() < SHORTEST_PART {
                continue;
            }
            for length in LINE_LENGTHS {
                let lines = inner.chunks(length).filter(|line| line.len() >= SHORTEST_PART);
                forms.extend(lines.filter(|_| before == 0).map(<[u8]>::to_vec));
            }
            forms.insert(inner);
        }
    }
    forms
}

/// The characters that `value` alone decides when `before` bytes (modulo 3) of something else come before it and
/// anything follows.
fn inner_part(engine: &GeneralPurpose, value: &[u8], before: usize) -> Vec<u8> {
    let mut with_filler = vec![0; before];
    with_filler.extend_from_slice(value);
    let (begin, end) = ((before * 8).div_ceil(6), with_filler.len() * 8 / 6);
    let encoded = engine.encode(with_filler).into_bytes();
    encoded.get(begin..end).map(<[u8]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) -> bool {
        forms(value).contains(form.as_bytes())
    }

    #[test]
    fn what_other_programs_make_of_a_value_is_known() {
        let value = "p@ss w/örd\"1";
        for form in [
            "p@ss w/örd\"1",
            "p%40ss%20w%2F%C3%B6rd%221",
            "p%40ss%20w/%C3%B6rd%221",
            "p%40ss+w%2f%c3%b6rd%221",
            "cEBzcyB3L8O2cmQiMQ==",
            "cEBzcyB3L8O2cmQiMQ",
            "p@ss w/örd\\\"1",
            "p@ss w/\\u00f6rd\\\"1",
        ] {
            assert!(has(value, form), "{form}");
        }
        assert!(has("a?>a?>", "YT8-YT8-"), "the alphabet of URLs");
    }

    #[test]
    fn a_value_within_something_larger_is_found_in_its_base64() {
        for before in ["", "u", "us", "user"] {
            let larger = STANDARD.encode(format!("{before}correct horse battery{before}"));
            let found = forms("correct horse battery").into_iter().any(|form| {
                larger.contains(std::str::from_utf8(&form).unwrap_or("not text")) && form.len() > 25
            });
            assert!(found, "{larger}");
        }
    }

    #[test]
    fn lines_of_a_long_value_are_forms_of_their_own() {
        let key = "-----BEGIN KEY-----\nabcdefghijklmnop\nqr\n-----END KEY-----\n";
        assert!(has(key, "abcdefghijklmnop"));
        assert!(!has(key, "qr"), "too short to be told from other text");
    }

    #[test]
    fn what_is_too_short_has_no_form() {
        assert!(forms("abc").is_empty() && forms("").is_empty());
        assert!(has("1234", "1234"));
    }
}
