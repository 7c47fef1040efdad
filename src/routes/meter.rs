//! The budget of an evaluation, and the functions that charge against it.
//!
//! The `cel` crate has no budget. [`super::metered`] inserts calls of the functions below into every
//! expression: a loop is charged for all of its steps before it starts, and a function for the size of its
//! arguments before it runs. So no evaluation does more than [`BUDGET`] allows, for any expression and body.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::traits::Iterable;
use cel::common::types::{self, CelBool, CelBytes, CelInt, CelList, CelMap, CelString, Kind, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use regex::Regex;

/// How many units an evaluation may spend. A unit is about the evaluation of one operator, or the reading of
/// one value, and takes some 0.1 µs.
pub(super) const BUDGET: u64 = 500_000;

/// How many units all evaluations for one webhook may spend together.
pub(super) const WEBHOOK_BUDGET: u64 = 4 * BUDGET;

/// How many bytes of a text cost one unit. Texts are compared, searched and copied fast.
const TEXT_BYTES: u64 = 64;

/// The variable that holds the meter. No expression can name it, because CEL does not allow `@` in names.
pub(super) const METER: &str = "@meter";

/// Charges for the size of a value, and returns the value: `@charge(@meter, value)`.
pub(super) const CHARGE: &str = "@charge";
/// Charges for a loop over a collection, and returns the collection: `@each(@meter, collection, step cost)`.
pub(super) const EACH: &str = "@each";
/// `==` for any two values: `@equal(@meter, one, other)`.
pub(super) const EQUAL: &str = "@equal";
/// `in` for any two values: `@within(@meter, value, collection)`.
pub(super) const WITHIN: &str = "@within";
/// `matches` with a compiled pattern: `@match(@meter, text, pattern)`.
pub(super) const MATCH: &str = "@match";
/// Returns a `bool`, and fails for any other value: `@answer(value)`.
pub(super) const ANSWER: &str = "@answer";

/// Counts what an evaluation spends.
#[derive(Debug)]
pub(super) struct Meter {
    spent: AtomicU64,
    budget: u64,
}

impl Meter {
    /// A meter for an evaluation. `spent_before` is what earlier evaluations for the same webhook have spent.
    pub(super) fn new(spent_before: u64) -> Self {
        let budget = BUDGET.min(WEBHOOK_BUDGET.saturating_sub(spent_before));
        Self { spent: AtomicU64::new(0), budget }
    }

    /// What the evaluation has spent, at most its budget.
    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed).min(self.budget)
    }

    /// Whether the evaluation needed more than its budget.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.spent.load(Ordering::Relaxed) > self.budget
    }

    /// Charges `cost`. Once the budget is spent, fails without computing the cost, because a loop may ignore
    /// the error and go on to its next step.
    fn spend(&self, cost: impl FnOnce() -> u64) -> Result<(), ExecutionError> {
        if !self.is_overdrawn() {
            // Only one thread evaluates. The atomic is needed because values of CEL must be `Sync`.
            self.spent.store(self.spent.load(Ordering::Relaxed).saturating_add(cost()), Ordering::Relaxed);
        }
        if self.is_overdrawn() {
            return Err(ExecutionError::InternalError("the budget is spent".into()));
        }
        Ok(())
    }
}

/// The compiled pattern of a `matches`.
#[derive(Debug)]
pub(super) struct Pattern(pub(super) Regex);

macro_rules! opaque {
    ($type:ty, $name:literal) => {
        impl Val for $type {
            fn get_type(&self) -> &Type {
                <Self as Val>::cel_type()
            }

            fn cel_type() -> &'static Type {
                static TYPE: Type = Type::new_unspecified_type($name);
                &TYPE
            }

            /// Never called: no expression can store a value of this type.
            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(types::CelNull)
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }

        impl StaticVal for $type {}
    };
}

opaque!(Meter, "@meter");
opaque!(Pattern, "@pattern");

/// The standard library of CEL with the functions above.
pub(super) fn environment() -> Result<Env, DeclarationError> {
    let any = |count| std::iter::repeat_with(|| types::DYN_TYPE).take(count).collect();
    // Without optional values: reading one copies its content, which the functions above cannot charge for.
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    environment.add_overload(CHARGE, CHARGE, any(2), charge)?;
    environment.add_overload(EACH, EACH, any(3), each)?;
    environment.add_overload(EQUAL, EQUAL, any(3), equal)?;
    environment.add_overload(WITHIN, WITHIN, any(3), within)?;
    environment.add_overload(MATCH, MATCH, any(3), matches)?;
    environment.add_overload(ANSWER, ANSWER, any(1), answer)?;
    Ok(environment)
}

type Called<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn charge<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Called<'b, 'v> {
    let [meter, value] = taken(args)?;
    get::<Meter>(&meter)?.spend(|| shallow(&*value))?;
    Ok(value)
}

fn each<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Called<'b, 'v> {
    let [meter, collection, step] = taken(args)?;
    get::<Meter>(&meter)?.spend(|| {
        let items = collection.as_sizer().map_or(0, |sizer| *sizer.size().inner()).unsigned_abs();
        let step = step.downcast_ref::<CelInt>().map_or(1, |step| step.inner().unsigned_abs());
        // Also charges for copying the items: each is bound to the variable of the loop as a copy.
        items.saturating_mul(step).saturating_add(shallow(&*collection))
    })?;
    Ok(collection)
}

fn equal<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Called<'b, 'v> {
    let [meter, one, other] = taken(args)?;
    get::<Meter>(&meter)?.spend(|| deep(&*one).saturating_add(deep(&*other)))?;
    Ok(CowVal::owned(CelBool::from(same(&*one, &*other))))
}

fn within<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Called<'b, 'v> {
    let [meter, value, collection] = taken(args)?;
    let is_list = collection.get_type().kind() == Kind::List;
    get::<Meter>(&meter)?.spend(|| deep(&*value) + if is_list { deep(&*collection) } else { 1 })?;
    let found = match (collection.as_iterable().filter(|_| is_list), collection.as_container()) {
        (Some(list), _) => {
            let mut items = list.iter();
            std::iter::from_fn(|| items.next()).any(|item| same(item, &*value))
        }
        (None, Some(container)) => container.contains(&*value)?,
        (None, None) => {
            let types = [&value, &collection].map(|value| value.get_type().name().to_owned());
            return Err(ExecutionError::no_such_overload("in", types.into()));
        }
    };
    Ok(CowVal::owned(CelBool::from(found)))
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Called<'b, 'v> {
    let [meter, text, pattern] = taken(args)?;
    get::<Meter>(&meter)?.spend(|| shallow(&*text))?;
    let Some(text) = text.downcast_ref::<CelString>() else {
        let types = vec![text.get_type().name().to_owned()];
        return Err(ExecutionError::no_such_member_overload("matches", types));
    };
    Ok(CowVal::owned(CelBool::from(get::<Pattern>(&pattern)?.0.is_match(text.inner()))))
}

fn answer<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Called<'b, 'v> {
    let [value] = taken(args)?;
    if value.downcast_ref::<CelBool>().is_some() {
        return Ok(value);
    }
    Err(ExecutionError::UnexpectedType { got: value.get_type().name().to_owned(), want: "bool".to_owned() })
}

fn taken<'b, 'v, const N: usize>(args: Vec<CowVal<'b, 'v>>) -> Result<[CowVal<'b, 'v>; N], ExecutionError> {
    let actual = args.len();
    args.try_into().map_err(|_| ExecutionError::invalid_argument_count(N, actual))
}

fn get<'b, T: StaticVal>(value: &'b CowVal<'_, '_>) -> Result<&'b T, ExecutionError> {
    value.as_any().and_then(|any| any.downcast_ref()).ok_or_else(ExecutionError::missing_argument_or_target)
}

/// Whether two values are equal. Asks both sides, because lists of CEL do not know our lists.
fn same(one: &dyn Val, other: &dyn Val) -> bool {
    one.equals(other) || other.equals(one)
}

/// The cost of copying a value, or of reading each of its items.
fn shallow(value: &dyn Val) -> u64 {
    match own(value, shallow) {
        Some(cost) => cost,
        // Arrays and objects of the body are shared, not copied.
        None => 1 + value.as_sizer().map_or(0, |sizer| sizer.size().inner().unsigned_abs()),
    }
}

/// The cost of comparing a value.
fn deep(value: &dyn Val) -> u64 {
    if let Some(cost) = own(value, deep) {
        return cost;
    }
    let mut cost = 1;
    let Some(mut items) = value.as_iterable().map(Iterable::iter) else { return cost };
    let members = value.as_indexer().filter(|_| value.get_type().kind() == Kind::Map);
    while let Some(item) = items.next() {
        cost += deep(item);
        if let Some(Ok(member)) = members.map(|members| members.get(item)) {
            cost += deep(&*member);
        }
    }
    cost
}

/// The cost of a text, bytes, list or map of CEL's own types; `of_item` is the cost of an item. None for
/// other types.
fn own(value: &dyn Val, of_item: fn(&dyn Val) -> u64) -> Option<u64> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return Some(1 + text.inner().len() as u64 / TEXT_BYTES);
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return Some(1 + bytes.inner().len() as u64 / TEXT_BYTES);
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        return Some(1 + list.inner().iter().map(|item| of_item(&**item)).sum::<u64>());
    }
    let map = value.downcast_ref::<CelMap>()?;
    Some(1 + map.inner().iter().map(|(key, item)| of_item(key.inner()) + of_item(&**item)).sum::<u64>())
}
