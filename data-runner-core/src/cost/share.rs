//! How a machine's bill is shared among the attempts that it had.

use std::collections::BTreeMap;

use super::{Cost, MachinePrice, Money};
use crate::execution::{Attempt, Execution, Phase};
use crate::id::{AttemptId, WorkerId};
use crate::time::Timestamp;
use crate::worker::Worker;

/// What one worker's machine cost, and whose that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCost {
    /// The worker.
    pub worker: WorkerId,
    /// All of it.
    pub total: Cost,
    /// The share of each attempt that the worker had. They add up to `total`, unless there is none.
    pub attempts: BTreeMap<AttemptId, Cost>,
}

/// What a worker's machine has cost until it was proved gone, or until `now`, shared among all the attempts that it had,
/// in any order. `None` where no price is known.
///
/// Boot goes to the first attempt; what lies between the end of one and the beginning of the next goes to the earlier
/// one. Attempts that overlap (a worker with several slots) share by the order in which they began.
pub fn of_worker(worker: &Worker, attempts: &[(AttemptId, Attempt)], now: Timestamp) -> Option<WorkerCost> {
    let bill = Bill::of(worker, now)?;
    let mut begun: Vec<(Timestamp, AttemptId, &Attempt)> =
        attempts.iter().map(|(id, attempt)| (bill.within(begin(attempt)), *id, attempt)).collect();
    begun.sort_by_key(|(at, id, _)| (*at, *id));
    let mut shares = BTreeMap::new();
    let mut paid = Money::default();
    for (n, (at, id, attempt)) in begun.iter().enumerate() {
        let next = begun.get(n + 1).map(|(next, _, _)| *next);
        let until = next.map_or(bill.total(), |next| bill.at(next));
        let worked = match attempt.phases.get(Phase::Finished).or_else(|| ended(attempt)) {
            Some(end) => bill.at(bill.within(Some(end)).max(*at)).min(until),
            None => until,
        };
        let boot = if n == 0 { bill.at(*at) } else { paid };
        let cost = Cost { boot: boot.less(paid), work: worked.less(boot), idle: until.less(worked) };
        shares.insert(*id, cost);
        paid = until;
    }
    let total = if shares.is_empty() {
        Cost { boot: bill.total(), ..Cost::default() }
    } else {
        shares.values().copied().sum()
    };
    Some(WorkerCost { worker: worker.id, total, attempts: shares })
}

/// What an execution cost: its shares of the machines that its attempts had, and the machines that were launched for it
/// and never had an attempt. `workers` are the costs of [`Execution::workers`]; others do no harm. `None` where no price
/// is known.
pub fn of_execution(execution: &Execution, workers: &[WorkerCost]) -> Option<Cost> {
    let wanted = execution.workers();
    let costs: Vec<Cost> = workers
        .iter()
        .filter(|worker| wanted.contains(&worker.worker))
        .flat_map(|worker| {
            let shares = worker.attempts.iter().filter(|(id, _)| id.execution == execution.id);
            let unused = worker.attempts.is_empty().then_some(worker.total);
            shares.map(|(_, cost)| *cost).chain(unused).collect::<Vec<_>>()
        })
        .collect();
    (!costs.is_empty()).then(|| costs.into_iter().sum())
}

/// When an attempt had its machine: when its agent took it.
fn begin(attempt: &Attempt) -> Option<Timestamp> {
    attempt
        .phases
        .get(Phase::Connected)
        .or_else(|| attempt.phases.reached().find(|(phase, _)| *phase > Phase::Connected).map(|(_, at)| at))
}

/// When an attempt that no agent reported was closed.
fn ended(attempt: &Attempt) -> Option<Timestamp> {
    attempt.end.as_ref().and_then(|_| attempt.phases.get(Phase::Drained))
}

/// The bill of one machine, as it grows.
struct Bill {
    price: MachinePrice,
    from: Timestamp,
    until: Timestamp,
}

impl Bill {
    fn of(worker: &Worker, now: Timestamp) -> Option<Self> {
        let launched = worker.launched.as_ref()?;
        let price = launched.price?;
        // Proof may come late, after the supervisor was away. By its deadline the machine has powered itself off.
        let until = match (worker.gone_at(), worker.deadline()) {
            (Some(gone), Some(deadline)) => gone.min(deadline),
            (Some(gone), None) => gone,
            (None, Some(_) | None) => now,
        };
        Some(Self { price, from: launched.at, until: until.max(launched.at) })
    }

    /// A moment of the machine's life; its end for what has not happened.
    fn within(&self, at: Option<Timestamp>) -> Timestamp {
        at.map_or(self.until, |at| at.clamp(self.from, self.until))
    }

    fn total(&self) -> Money {
        self.price.bill(self.until.since(self.from))
    }

    fn at(&self, at: Timestamp) -> Money {
        if at >= self.until { self.total() } else { self.price.charge(at.since(self.from)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::cost::Market;
    use crate::execution::{AttemptEnd, Failure, FailureCause, Phases};
    use crate::id::{AttemptNumber, ExecutionId, Lease, WorkflowId};
    use crate::time::Entropy;
    use crate::worker::{Launched, MachineRequest, Origin, Purpose, TerminationCause, WorkerState};

    /// 3.6 dollars an hour: a thousand millionths a second.
    const PRICE: MachinePrice = MachinePrice { instance: 3_000_000, volume: 500_000, address: 100_000 };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0).after(Duration::from_secs(seconds))
    }

    fn machine(launched: u64, gone: Option<u64>, price: Option<MachinePrice>) -> Worker {
        let mut entropy = Entropy::from_number(1);
        let state = match gone {
            Some(gone) => WorkerState::Terminated { cause: TerminationCause::Idle, at: at(gone) },
            None => WorkerState::Idle { machine: None, candidate: None, since: at(launched) },
        };
        let mut request = MachineRequest::plain("t3.medium", None, 1);
        request.deadline = Some(at(10_000));
        Worker {
            id: WorkerId::generate(at(0), &mut entropy),
            origin: Origin::Provisioned,
            purpose: Purpose::Workflow {
                workflow: WorkflowId::generate(at(0), &mut entropy),
                request: Box::new(request),
                keep_warm: Duration::ZERO,
            },
            slots: 1,
            launched: Some(Launched {
                machine: "i-1".parse().unwrap(),
                instance_type: "t3.medium".to_owned(),
                zone: None,
                market: Market::OnDemand,
                price,
                at: at(launched),
            }),
            joined_with: None,
            facts: None,
            state,
            created_at: at(launched),
        }
    }

    fn attempt(n: u64, connected: Option<u64>, finished: Option<u64>) -> (AttemptId, Attempt) {
        let mut entropy = Entropy::from_number(n);
        let worker = WorkerId::generate(at(0), &mut Entropy::from_number(1));
        let execution = ExecutionId::generate(at(n), &mut entropy);
        let mut phases = Phases::default();
        phases.record(Phase::Queued, at(0));
        if let Some(connected) = connected {
            phases.record(Phase::Connected, at(connected));
        }
        if let Some(finished) = finished {
            phases.record(Phase::Finished, at(finished));
        }
        let (number, lease) = (AttemptNumber::FIRST, Lease::generate(at(0), &mut entropy));
        (
            AttemptId { execution, number },
            Attempt { number, worker, lease, phases, packages: None, end: None },
        )
    }

    fn cost(boot: u64, work: u64, idle: u64) -> Cost {
        Cost { boot: Money(boot * 1000), work: Money(work * 1000), idle: Money(idle * 1000) }
    }

    #[test]
    fn boot_work_and_idle_of_one_attempt_are_what_the_machine_cost() {
        let one = attempt(1, Some(130), Some(400));
        let worker =
            of_worker(&machine(100, Some(450), Some(PRICE)), std::slice::from_ref(&one), at(9_999)).unwrap();
        assert_eq!(worker.attempts[&one.0], cost(30, 270, 50));
        assert_eq!(worker.total.total(), Money(350_000));
        assert!((worker.total.total().usd() - 0.35).abs() < 1e-9);
    }

    #[test]
    fn a_warm_machine_is_shared_and_waiting_goes_to_the_one_before() {
        let (first, second) = (attempt(1, Some(130), Some(400)), attempt(2, Some(460), Some(500)));
        let worker =
            of_worker(&machine(100, Some(560), Some(PRICE)), &[second.clone(), first.clone()], at(0))
                .unwrap();
        assert_eq!(worker.attempts[&first.0], cost(30, 270, 60));
        assert_eq!(worker.attempts[&second.0], cost(0, 40, 60));
    }

    #[test]
    fn a_minute_is_billed_at_least_and_seconds_are_rounded_up() {
        let one = attempt(1, Some(110), Some(115));
        let worker =
            of_worker(&machine(100, Some(120), Some(PRICE)), std::slice::from_ref(&one), at(0)).unwrap();
        assert_eq!(worker.attempts[&one.0], cost(10, 5, 45));
        let mut late = machine(100, None, Some(PRICE));
        let gone = at(170).after(Duration::from_micros(1));
        late.state = WorkerState::Terminated { cause: TerminationCause::Idle, at: gone };
        assert_eq!(of_worker(&late, &[], at(0)).unwrap().total, cost(71, 0, 0));
    }

    #[test]
    fn what_lives_is_counted_until_now_and_what_was_proved_gone_late_until_its_deadline() {
        let running = attempt(1, Some(130), None);
        let now =
            of_worker(&machine(100, None, Some(PRICE)), std::slice::from_ref(&running), at(200)).unwrap();
        assert_eq!(now.attempts[&running.0], cost(30, 70, 0));
        let late = of_worker(&machine(100, Some(99_999), Some(PRICE)), std::slice::from_ref(&running), at(0))
            .unwrap();
        assert_eq!(late.total.total(), Money(9_900_000));
    }

    #[test]
    fn an_attempt_that_was_lost_before_its_agent_took_it_costs_its_machine() {
        let (id, mut lost) = attempt(1, None, None);
        lost.end = Some(AttemptEnd::Lost(Failure::new(FailureCause::WorkerLost, "gone")));
        lost.phases.record(Phase::Drained, at(300));
        let worker = of_worker(&machine(100, Some(300), Some(PRICE)), &[(id, lost)], at(0)).unwrap();
        assert_eq!(worker.total.total(), Money(200_000));
        assert_eq!(worker.attempts[&id], worker.total);
    }

    #[test]
    fn without_a_price_there_is_no_cost_rather_than_none_to_pay() {
        assert_eq!(of_worker(&machine(100, Some(200), None), &[], at(0)), None);
        assert_eq!(of_worker(&Worker { launched: None, ..machine(1, None, None) }, &[], at(0)), None);
    }

    proptest::proptest! {
        #[test]
        fn shares_always_add_up_to_the_bill(
            price in 0_u64..u64::MAX / 4,
            gone in 100_u64..3_000,
            spans in proptest::collection::vec((0_u64..4_000, 0_u64..4_000, 0_u8..4), 1..8),
        ) {
            let price = MachinePrice { instance: price, volume: 0, address: 0 };
            let attempts: Vec<_> = (1..)
                .zip(&spans)
                .map(|(n, (begin, lasts, kind))| {
                    attempt(n, (kind & 1 == 0).then_some(*begin), (kind & 2 == 0).then_some(begin + lasts))
                })
                .collect();
            let machine = machine(100, Some(gone), Some(price));
            let alone = of_worker(&machine, &[], at(0)).unwrap();
            let shared = of_worker(&machine, &attempts, at(0)).unwrap();
            proptest::prop_assert_eq!(shared.total.total(), alone.total.total());
            proptest::prop_assert_eq!(shared.attempts.len(), attempts.len());
        }
    }
}
