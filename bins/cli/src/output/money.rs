//! Amounts of money as people read them.

/// US dollars: cents where that is enough, and as many digits as small amounts need.
pub fn usd(amount: f64) -> String {
    if amount == 0.0 {
        "$0".to_owned()
    } else if amount < 0.0001 {
        "<$0.0001".to_owned()
    } else if amount < 1.0 {
        format!("${amount:.4}")
    } else {
        format!("${amount:.2}")
    }
}

/// The same, or a dash where no price is known.
pub fn known(amount: Option<f64>) -> String {
    amount.map_or_else(|| "-".to_owned(), usd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_their_digits_and_large_ones_their_cents() {
        let amounts = [0.0, 0.00001, 0.0416, 0.9, 3.6, 1234.567];
        assert_eq!(amounts.map(usd), ["$0", "<$0.0001", "$0.0416", "$0.9000", "$3.60", "$1234.57"]);
        assert_eq!(known(None), "-");
    }
}
