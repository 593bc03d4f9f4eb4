//! "Did you mean": the name that is nearest to a misspelt one.

/// The candidate that a person most likely meant; `None` when nothing is near enough. Of equally near ones the first.
pub(crate) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = given.chars().count();
    if length > 100 {
        return None;
    }
    let given = given.to_lowercase();
    // A third of the letters may be wrong: more than that suggests what nobody meant.
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_nonsense_is_not() {
        let names = ["timeout", "retries", "env"];
        assert_eq!(nearest("timout", names), Some("timeout"));
        assert_eq!(nearest("retires", names), Some("retries"));
        assert_eq!(nearest("Env", names), Some("env"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("x", names), None);
        assert_eq!(nearest(&"t".repeat(100_000), names), None);
    }
}
