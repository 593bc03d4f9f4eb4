#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn secrets(values: &[&str]) -> Secrets {
    Secrets::new(values.iter().copied())
}

fn masked(values: &[&str], text: &str) -> String {
    secrets(values).mask_text(text)
}

#[test]
fn a_secret_is_masked_and_nothing_else() {
    assert_eq!(masked(&["hunter2"], "user=me password=hunter2\n"), "user=me password=***\n");
    assert_eq!(masked(&["hunter2"], "hunter, hunter1"), "hunter, hunter1");
    assert_eq!(masked(&["hunter2"], "hunter2hunter2"), "******");
    assert_eq!(masked(&[], "hunter2"), "hunter2");
}

#[test]
fn secrets_that_overlap_leave_nothing_of_either() {
    assert_eq!(masked(&["abcdef", "defghi"], "xabcdefghiy"), "x***y");
    assert_eq!(masked(&["abcdef", "cdef"], "xabcdefy cdef"), "x***y ***");
    assert_eq!(masked(&["aaaa"], "baaaaaaaaaaab"), "b***b");
}

#[test]
fn what_may_be_the_beginning_of_a_secret_waits_for_what_follows() {
    let mut stream = MaskedStream::new(secrets(&["hunter2"]));
    let mut out = Vec::new();
    stream.push(b"It is hunt", &mut out);
    assert_eq!(out, b"It is ");
    stream.push(b"ing", &mut out);
    assert_eq!(out, b"It is hunting");
    stream.push(b" h", &mut out);
    assert_eq!(out, b"It is hunting ");
    stream.finish(&mut out);
    assert_eq!(out, b"It is hunting h");
}

#[test]
fn a_secret_without_end_takes_no_memory() {
    let mut stream = MaskedStream::new(secrets(&["aaaa"]));
    let mut out = Vec::new();
    for _ in 0..1000 {
        stream.push(&[b'a'; 1000], &mut out);
    }
    assert!(stream.held.len() <= 4 && stream.found.len() <= 1);
    stream.finish(&mut out);
    assert_eq!(out, MASK);
}

#[test]
fn an_output_is_masked_in_its_texts_names_and_numbers() {
    let secrets = secrets(&["say \"x\"", "12345678"]);
    let output = json!({"a": ["say \"x\"", 12_345_678, 1, null, true], "say \"x\"": 1.5});
    assert_eq!(secrets.mask_json(output), json!({"a": ["***", "***", 1, null, true], "***": 1.5}));
}

/// The slow way, with everything known at once: every place of every form, those that overlap made one.
fn expected(forms: &BTreeSet<Vec<u8>>, text: &[u8]) -> Vec<u8> {
    let mut places: Vec<(usize, usize)> = forms
        .iter()
        .flat_map(|form| {
            let starts = (0..text.len()).filter(move |at| text[*at..].starts_with(form));
            starts.map(move |at| (at, at + form.len()))
        })
        .collect();
    places.sort_unstable();
    let (mut out, mut done) = (Vec::new(), 0);
    for (start, end) in places {
        if start >= done {
            out.extend_from_slice(&text[done..start]);
            out.extend_from_slice(MASK);
        }
        done = done.max(end);
    }
    out.extend_from_slice(&text[done..]);
    out
}

/// A piece of output.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    /// A form of one of the secrets, cut down to so many of its bytes (in percent).
    Secret {
        which: usize,
        form: usize,
        percent: usize,
    },
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        "[a-c%+=\"\\\\ \n]{0,12}".prop_map(Piece::Text),
        (any::<usize>(), any::<usize>(), prop_oneof![3 => Just(100_usize), 1 => 0..100_usize])
            .prop_map(|(which, form, percent)| Piece::Secret { which, form, percent }),
    ]
}

/// Few letters, so that secrets overlap each other, themselves and the text; and odd ones, that are encoded.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{4,9}", "[a-c/ +%\"\n]{4,24}", "[a-zäß€ -)]{4,90}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn no_split_of_any_output_lets_a_secret_through_and_nothing_else_is_touched(
        values in proptest::collection::vec(secret(), 1..4),
        pieces in proptest::collection::vec(piece(), 0..12),
        cuts in proptest::collection::vec(0..40_usize, 0..30),
    ) {
        let all: Vec<Vec<Vec<u8>>> =
            values.iter().map(|value| forms::forms(value).into_iter().collect()).collect();
        let mut text = Vec::new();
        for piece in &pieces {
            match piece {
                Piece::Text(other) => text.extend_from_slice(other.as_bytes()),
                Piece::Secret { which, form, percent } => {
                    let forms = &all[which % all.len()];
                    let form = &forms[form % forms.len()];
                    text.extend_from_slice(&form[..form.len() * percent / 100]);
                }
            }
        }
        let mut stream = MaskedStream::new(Secrets::new(values.iter().map(String::as_str)));
        let (mut out, mut rest) = (Vec::new(), text.as_slice());
        for cut in cuts {
            let (block, later) = rest.split_at(cut.min(rest.len()));
            stream.push(block, &mut out);
            rest = later;
        }
        stream.push(rest, &mut out);
        stream.finish(&mut out);

        let forms: BTreeSet<Vec<u8>> = all.into_iter().flatten().collect();
        let expected = expected(&forms, &text);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
        // Removing a secret can bring together what is one again only by way of the mask itself.
        let leaked = out.split(|&byte| byte == b'*').any(|part| {
            forms.iter().any(|form| part.windows(form.len()).any(|window| window == form.as_slice()))
        });
        prop_assert!(!leaked);
    }
}
