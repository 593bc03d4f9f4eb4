//! Groups: the members of a matrix or a backfill, prepared together.

use std::sync::Arc;

use data_runner_core::event::{Answer, GroupWish, Rejection, Request};
use data_runner_core::execution::{Execution, Trigger};
use data_runner_core::group::{Group, GroupKind, GroupOrder, MAX_MEMBERS, Member};
use data_runner_core::id::GroupId;
use data_runner_core::workflow::config::WorkflowConfig;
use data_runner_core::workflow::{Matrix, Schedule, ScheduleDates, Workflow, dates_between};
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::handle::unexpected;
use super::preparation::{Defined, Origin, Preparation, invalid, sized};
use super::request::{BackfillOrder, Order, RequestError, Started};

/// Why dates cannot be run again.
#[derive(Debug, thiserror::Error)]
enum BackfillRefused {
    #[error("{from} is after {to}")]
    Reversed { from: Date, to: Date },
    #[error("the schedule is not due from {from} to {to}")]
    NeverDue { from: Date, to: Date },
    #[error("these are more than {MAX_MEMBERS} executions; take a shorter time")]
    TooMany,
}

impl Preparation<'_> {
    /// One member for each combination of the workflow's matrix.
    pub(super) async fn matrix(
        &self,
        workflow: &Workflow,
        mut defined: Defined,
        order: &Order,
        origin: Origin,
    ) -> Result<GroupOrder, RequestError> {
        sized(&mut defined.config, order)?;
        let members = self.members(&defined.config, &order.params, &origin)?;
        let matrix = defined.config.matrix.as_ref();
        let max_parallel = matrix.and_then(|matrix| matrix.max_parallel);
        let fail_fast = matrix.is_some_and(|matrix| matrix.fail_fast);
        let submit = self.submission(workflow, defined, order, (Default::default(), origin)).await?;
        Ok(GroupOrder { submit, kind: GroupKind::Matrix, members, max_parallel, fail_fast })
    }

    pub(super) async fn backfill(
        &self,
        given: &str,
        order: BackfillOrder,
    ) -> Result<Arc<Group>, RequestError> {
        let (workflow, defined) = self.backfilled(given).await?;
        let members = self.members_of(&defined.config, &order)?;
        let matrix = defined.config.matrix.as_ref();
        // One date after the other unless something else is said: what a day makes, the next one may need.
        let max_parallel =
            order.max_parallel.or(Some(matrix.map_or(Some(1), |it| it.max_parallel).unwrap_or(1)));
        let fail_fast = matrix.is_some_and(|matrix| matrix.fail_fast);
        let kind = GroupKind::Backfill { from: order.from, to: order.to };
        let plain = Order { idempotency: order.idempotency, ..Order::default() };
        let origin = Origin::from(Trigger::Backfill);
        let submit = self.submission(&workflow, defined, &plain, (Default::default(), origin)).await?;
        let group = GroupOrder { submit, kind, members, max_parallel, fail_fast };
        match self.ask(Request::StartGroup(Box::new(group))).await? {
            Started::Group(group) => Ok(group),
            Started::Execution(execution) => {
                Err(RequestError::NoSuchGroup(GroupId::from_uuid(execution.id.uuid())))
            }
        }
    }

    /// The members that a backfill would have.
    pub(super) async fn plan_backfill(
        &self,
        given: &str,
        order: &BackfillOrder,
    ) -> Result<Vec<Member>, RequestError> {
        let (_, defined) = self.backfilled(given).await?;
        self.members_of(&defined.config, order)
    }

    async fn backfilled(&self, given: &str) -> Result<(Arc<Workflow>, Defined), RequestError> {
        let workflow = self.current(given, None).await?;
        let defined = self.defined(&workflow, None).await?;
        Ok((workflow, defined))
    }

    /// One member for each date and each combination of the matrix, in order of the dates.
    fn members_of(
        &self,
        config: &WorkflowConfig,
        order: &BackfillOrder,
    ) -> Result<Vec<Member>, RequestError> {
        let BackfillOrder { from, to, .. } = *order;
        if from > to {
            return Err(invalid("from", &BackfillRefused::Reversed { from, to }));
        }
        let schedules: Vec<Schedule> = config.schedule.iter().map(|line| line.schedule.clone()).collect();
        let dates = dates_between(&schedules, from, to, MAX_MEMBERS + 1);
        if dates.is_empty() {
            return Err(invalid("from", &BackfillRefused::NeverDue { from, to }));
        }
        let each = combinations(config.matrix.as_ref(), &order.params).len();
        if dates.len().saturating_mul(each) > MAX_MEMBERS {
            return Err(invalid("to", &BackfillRefused::TooMany));
        }
        let of_date = |dates: ScheduleDates| {
            let origin = Origin { dates: Some(dates), ..Origin::from(Trigger::Backfill) };
            self.members(config, &order.params, &origin)
        };
        let members: Result<Vec<Vec<Member>>, RequestError> = dates.into_iter().map(of_date).collect();
        Ok(members?.into_iter().flatten().collect())
    }

    /// One member for each combination of the matrix.
    fn members(
        &self,
        config: &WorkflowConfig,
        given: &Map<String, Value>,
        origin: &Origin,
    ) -> Result<Vec<Member>, RequestError> {
        let member = |given: Map<String, Value>| {
            let params = self.params(config, &given, origin)?;
            let queueing = config.queueing.resolve(&params);
            Ok(Member::new(params, origin.dates, queueing))
        };
        combinations(config.matrix.as_ref(), given).into_iter().map(member).collect()
    }

    pub(super) async fn change_group(
        &self,
        id: GroupId,
        wish: GroupWish,
        by: &str,
    ) -> Result<Arc<Group>, RequestError> {
        match self.shared.ask(Request::ChangeGroup { group: id, wish, by: by.to_owned() }).await {
            Ok(Answer::Group(group)) => Ok(group),
            // Core holds what is active only: what it does not know has ended, or never was.
            Ok(Answer::Rejected(Rejection::NoSuchGroup(_))) => match self.shared.catalog.group(id).await? {
                Some(ended) => Err(Rejection::GroupEnded { group: id, state: ended.state.name() }.into()),
                None => Err(RequestError::NoSuchGroup(id)),
            },
            other => unexpected(other),
        }
    }

    /// Whether an execution is one of several for the same date.
    pub(super) async fn is_one_of_many(&self, execution: &Execution) -> Result<bool, RequestError> {
        let Some(membership) = execution.group else {
            return Ok(false);
        };
        let group = self.shared.catalog.group(membership.group).await?;
        let same = |member: &&Member| member.dates == execution.dates;
        Ok(group.is_some_and(|group| group.members.iter().filter(same).count() > 1))
    }
}

fn combinations(matrix: Option<&Matrix>, given: &Map<String, Value>) -> Vec<Map<String, Value>> {
    matrix.map_or_else(|| vec![given.clone()], |matrix| matrix.combinations(given))
}
