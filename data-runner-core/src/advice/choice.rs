//! Sizes that would do, and the best of them.

use super::evidence::usable;
use super::{Choice, Needs, Question, Verdict};
use crate::cost::{MachinePrice, Money, price_table};
use crate::workflow::InstanceSize;

/// How many sizes are compared beside the present one.
const COMPARED: usize = 4;
/// A saving of less than one part of so many is not worth a change.
const WORTH_IT: u64 = 20;
/// Rounding and the system's own work: a run that kept 2.05 processors busy is no run for three.
const A_LITTLE: f64 = 0.1;

/// What to do, and what was compared.
pub(super) fn choose(
    question: &Question<'_>,
    needs: Needs,
    runs_per_month: Option<f64>,
) -> (Verdict, Vec<Choice>) {
    let choice = |size: InstanceSize| {
        let price = question.region.and_then(|region| price_table::on_demand(region, size.as_str()));
        let per_run =
            price.map(|instance| MachinePrice { instance, ..MachinePrice::default() }.bill(needs.time));
        let per_month = per_run.zip(runs_per_month).map(|(cost, runs)| Money((cost.0 as f64 * runs) as u64));
        Choice { fits: has_memory(&size, needs), size, per_run, per_month }
    };
    let present = choice(question.size.clone());
    let mut others: Vec<Choice> =
        candidates(question, needs, present.per_run.is_some()).map(choice).collect();
    // With prices the cheapest first, without the smallest; of equals the one that has more of the rest.
    others.sort_by_key(|it| {
        (it.per_run.unwrap_or(Money(u64::MAX)), it.size.resources().memory_bytes, it.size.clone())
    });
    let verdict = verdict(&present, others.first());
    others.truncate(COMPARED);
    (verdict, std::iter::once(present).chain(others).collect())
}

fn verdict(present: &Choice, best: Option<&Choice>) -> Verdict {
    let Some(best) = best else {
        return if present.fits { Verdict::Keep } else { Verdict::NothingFits };
    };
    let to = best.size.clone();
    if !present.fits {
        return Verdict::Larger { to };
    }
    match (present.per_run, best.per_run) {
        (Some(now), Some(then)) if then.0 + now.0 / WORTH_IT < now.0 => Verdict::Cheaper { to },
        (Some(_), Some(_) | None) | (None, Some(_)) => Verdict::Keep,
        (None, None) if best.size.resources().memory_bytes < present.size.resources().memory_bytes => {
            Verdict::Smaller { to }
        }
        (None, None) => Verdict::Keep,
    }
}

/// Sizes other than the present one that a run fits into and that may be had. Where there are no prices only those of the
/// same family, which differ in nothing but their size.
fn candidates(question: &Question<'_>, needs: Needs, priced: bool) -> impl Iterator<Item = InstanceSize> {
    let present = question.size.clone();
    let (allowed, region) = (question.allowed.clone(), question.region.map(ToOwned::to_owned));
    let sizes = InstanceSize::names().filter_map(|name| name.parse::<InstanceSize>().ok());
    sizes.filter(move |size| {
        let kin = size.family() == present.family();
        let known =
            region.as_deref().is_some_and(|region| price_table::on_demand(region, size.as_str()).is_some());
        // Processor credits are a bargain that a workflow should have asked for itself.
        let comparable = kin || (priced && known && !has_credits(size));
        let enough =
            has_memory(size, needs) && f64::from(size.resources().cpus) + A_LITTLE >= needs.processors;
        let other = *size != present && size.architecture() == present.architecture();
        other && comparable && enough && allowed.allow(size.as_str())
    })
}

fn has_memory(size: &InstanceSize, needs: Needs) -> bool {
    usable(size.resources()) >= needs.memory_bytes
}

/// Whether a size has processors that are only lent: what is used above a baseline is paid for apart.
pub(super) fn has_credits(size: &InstanceSize) -> bool {
    matches!(size.family(), "t2" | "t3" | "t3a" | "t4g")
}
