//! `advise`: which instance size a workflow should have.

use std::fmt::Write as _;
use std::time::Duration;

use data_runner_rest::api::{Advice, SizeChoice, SizeEvidence};

use super::context::Context;
use crate::args::AdviseArgs;
use crate::client::encode;
use crate::error::Error;
use crate::output::{Field, Table, money, style, time, whole};

/// Shows the advice with its evidence.
pub async fn advise(args: &AdviseArgs, context: &Context) -> Result<u8, Error> {
    let path = format!("/workflows/{}/advice", encode(&args.workflow));
    let advice: Advice = context.client.get(&path).await?;
    context.output.one(
        &advice,
        |advice| advice.recommended.clone().unwrap_or_else(|| advice.instance_size.clone()),
        |advice| page(advice, |table| context.output.draw(table)),
    )?;
    Ok(0)
}

fn page(advice: &Advice, draw: impl Fn(&Table) -> String) -> String {
    let mut text = format!("{}  {}\n", style::bold(&advice.workflow), advice.message);
    if let Some(saved) = advice.saves_per_run_usd {
        let _ = writeln!(text, "  {}", saving(saved, advice.saves_per_month_usd));
    }
    if let Some(needs) = &advice.needs {
        let _ = writeln!(
            text,
            "  a run needs {} of memory (the most that was used, or was not enough, and a quarter) and keeps {:.1} \
             processors busy; a machine is there for it for {}",
            time::bytes(needs.memory_bytes),
            needs.processors,
            duration(needs.seconds)
        );
    }
    if let Some(runs) = advice.runs_per_month {
        let _ = writeln!(text, "  it runs about {runs:.0} times in 30 days");
    }
    if !advice.evidence.is_empty() {
        let _ = writeln!(text, "\n{}\n{}", style::bold("Evidence"), draw(&evidence(&advice.evidence)));
    }
    if !advice.choices.is_empty() {
        let _ = writeln!(text, "\n{}\n{}", style::bold("Compared"), draw(&choices(&advice.choices)));
    }
    if !advice.caveats.is_empty() {
        let _ = writeln!(text, "\n{}", style::bold("Not known from this"));
        for caveat in &advice.caveats {
            let _ = writeln!(text, "  {}", caveat.message);
        }
    }
    text.trim_end().to_owned()
}

fn saving(per_run: f64, per_month: Option<f64>) -> String {
    let word = if per_run < 0.0 { "costs" } else { "saves" };
    let more = if per_run < 0.0 { " more" } else { "" };
    let month = per_month.map(|usd| format!(", {} a month", money::usd(usd.abs()))).unwrap_or_default();
    format!("{word} {}{more} a run{month}", money::usd(per_run.abs()))
}

fn evidence(evidence: &[SizeEvidence]) -> Table {
    let mut table = Table::new([
        whole("SIZE"),
        whole("SUCCEEDED"),
        whole("OUT OF MEMORY"),
        whole("MEMORY"),
        whole("PROCESSORS"),
        whole("SPILLED"),
        whole("MEDIAN"),
    ]);
    for it in evidence {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), time::bytes);
        table.row([
            Field::new(it.instance_size.clone()),
            Field::new(it.succeeded.to_string()),
            Field::new(it.out_of_memory.to_string()),
            Field::new(bytes(it.peak_memory_bytes)),
            Field::new(it.processors.map_or_else(|| "?".to_owned(), |number| format!("{number:.1}"))),
            Field::new(bytes(it.peak_spill_bytes)),
            Field::new(it.median_seconds.map_or_else(|| "-".to_owned(), duration)),
        ]);
    }
    table
}

fn choices(choices: &[SizeChoice]) -> Table {
    let mut table = Table::new([
        whole("SIZE"),
        whole("MEMORY"),
        whole("PROCESSORS"),
        whole("FITS"),
        whole("A RUN"),
        whole("A MONTH"),
    ]);
    for it in choices {
        table.row([
            Field::new(it.instance_size.clone()),
            Field::new(time::bytes(it.memory_bytes)),
            Field::new(it.cpus.to_string()),
            Field::new(if it.fits { "yes" } else { "no" }),
            Field::new(money::known(it.per_run_usd)),
            Field::new(money::known(it.per_month_usd)),
        ]);
    }
    table
}

fn duration(seconds: f64) -> String {
    time::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn drawn(table: &Table) -> String {
        table.render(Some(100), false)
    }

    #[test]
    fn advice_comes_with_its_evidence_and_with_what_it_does_not_know() {
        let choice = |size: &str, gib: u64, per_run: f64| {
            json!({"instance_size": size, "memory_bytes": gib << 30, "cpus": gib / 4, "fits": true,
                   "per_run_usd": per_run, "per_month_usd": per_run * 30.0})
        };
        let advice = json!({
            "workflow": "etl/orders", "instance_size": "m5.xlarge", "verdict": "cheaper", "recommended": "m5.large",
            "message": "m5.large does as well as m5.xlarge, for less", "saves_per_run_usd": 0.0178,
            "saves_per_month_usd": 0.534,
            "needs": {"memory_bytes": 917_504_000_u64, "processors": 0.8, "seconds": 600.0}, "runs_per_month": 30.0,
            "evidence": [{"instance_size": "m5.xlarge", "succeeded": 5, "out_of_memory": 0,
                          "peak_memory_bytes": 734_003_200, "processors": 0.8, "peak_spill_bytes": null,
                          "median_seconds": 600.0}],
            "choices": [choice("m5.xlarge", 16, 0.0356), choice("m5.large", 8, 0.0178)],
            "caveats": [{"code": "speed", "message": "how quick another processor is only a run shows"}],
        });
        let advice: Advice = serde_json::from_value(advice).expect("advice");
        insta::assert_snapshot!("advice", plain(&page(&advice, drawn)));
    }

    #[test]
    fn without_evidence_little_is_said() {
        let advice = json!({
            "workflow": "etl/orders", "instance_size": "m5.xlarge", "verdict": "too_little_evidence",
            "recommended": null, "saves_per_run_usd": null, "saves_per_month_usd": null, "needs": null,
            "message": "advice needs 3 attempts that told of their memory, and has 0",
            "runs_per_month": null, "evidence": [], "choices": [], "caveats": [],
        });
        let advice: Advice = serde_json::from_value(advice).expect("advice");
        insta::assert_snapshot!("advice_without_evidence", plain(&page(&advice, drawn)));
    }

    #[test]
    fn what_costs_more_says_so() {
        assert_eq!(saving(-0.02, Some(-0.6)), "costs $0.0200 more a run, $0.6000 a month");
        assert_eq!(saving(0.02, None), "saves $0.0200 a run");
    }
}
