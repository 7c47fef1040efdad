//! Makes arrays and objects of a body usable in CEL like its own lists and maps, without copying them.

use cel::ExecutionError;
use cel::common::traits::{Adder, Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{self, CelDouble, CelInt, CelList, CelString, CelUInt, Kind, Type};
use cel::common::value::{CowVal, Val};

use super::body::{List, Map, Node};

impl<'a> Val for List<'a> {
    fn get_type(&self) -> &Type {
        &types::LIST_TYPE
    }

    fn cel_type() -> &'static Type {
        &types::LIST_TYPE
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        if other.get_type().kind() != Kind::List || size(other) != Some(self.0.len()) {
            return false;
        }
        let Some(mut others) = other.as_iterable().map(Iterable::iter) else { return false };
        self.0.iter().all(|item| others.next().is_some_and(|other| item.as_val().equals(other)))
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl<'a> Adder for List<'a> {
    fn add<'b, 'v>(&'b self, rhs: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let mut others = rhs
            .as_iterable()
            .filter(|_| rhs.get_type().kind() == Kind::List)
            .map(Iterable::iter)
            .ok_or_else(|| {
                ExecutionError::no_such_overload("_+_", vec!["list".into(), rhs.get_type().name().into()])
            })?;
        let mut all: Vec<Box<dyn Val + 'v>> =
            self.0.iter().map(|item| item.as_val().clone_as_boxed()).collect();
        while let Some(other) = others.next() {
            all.push(other.clone_as_boxed());
        }
        Ok(CowVal::owned(CelList::from(all)))
    }
}

impl Container for List<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|item| item.as_val().equals(value)))
    }
}

impl<'a> Indexer for List<'a> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let item = place(index)?.and_then(|place| self.0.get(place));
        item.map(|item| CowVal::Borrowed(item.as_val()))
            .ok_or_else(|| ExecutionError::IndexOutOfBounds(index.try_into().unwrap_or(cel::Value::Null)))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// The place in a list that an index names; none if it is negative or larger than any list. Errors: the index
/// is not a whole number.
fn place(index: &dyn Val) -> Result<Option<usize>, ExecutionError> {
    if let Some(int) = index.downcast_ref::<CelInt>() {
        return Ok(usize::try_from(*int.inner()).ok());
    }
    if let Some(uint) = index.downcast_ref::<CelUInt>() {
        return Ok(usize::try_from(*uint.inner()).ok());
    }
    if let Some(double) = index.downcast_ref::<CelDouble>().map(|double| *double.inner())
        && double.fract() == 0.0
    {
        return Ok((0.0..1e15).contains(&double).then_some(double as usize));
    }
    Err(ExecutionError::UnexpectedType { got: index.get_type().name().into(), want: "int".into() })
}

impl<'a> Iterable for List<'a> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Items(self.0.iter()))
    }
}

struct Items<'b, 'a>(std::slice::Iter<'b, Node<'a>>);

impl<'b, 'v, 'a: 'v> Iterator<'b, 'v> for Items<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|item| item.as_val() as &'b (dyn Val + 'v))
    }
}

impl Sizer for List<'_> {
    fn size(&self) -> CelInt {
        int(self.0.len())
    }
}

impl<'a> Val for Map<'a> {
    fn get_type(&self) -> &Type {
        &types::MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &types::MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        if other.get_type().kind() != Kind::Map || size(other) != Some(self.0.len()) {
            return false;
        }
        let Some(others) = other.as_indexer() else { return false };
        self.0.iter().all(|(name, value)| others.get(name).is_ok_and(|other| value.as_val().equals(&*other)))
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Container for Map<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(value.downcast_ref::<CelString>().is_some_and(|name| Map::get(self, name.inner()).is_some()))
    }
}

impl<'a> Indexer for Map<'a> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = index.downcast_ref::<CelString>().ok_or_else(|| ExecutionError::UnexpectedType {
            got: index.get_type().name().into(),
            want: "string".into(),
        })?;
        Map::get(self, name.inner())
            .map(|value| CowVal::Borrowed(value.as_val()))
            .ok_or_else(|| ExecutionError::no_such_key(name.inner()))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Indexer::get(&*self, index).map(CowVal::into_owned)
    }
}

impl<'a> Iterable for Map<'a> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(MemberNames(self.0.iter()))
    }
}

struct MemberNames<'b, 'a>(std::slice::Iter<'b, (CelString<'a>, Node<'a>)>);

impl<'b, 'v, 'a: 'v> Iterator<'b, 'v> for MemberNames<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|(name, _)| name as &'b (dyn Val + 'v))
    }
}

impl Sizer for Map<'_> {
    fn size(&self) -> CelInt {
        int(self.0.len())
    }
}

fn size(value: &dyn Val) -> Option<usize> {
    usize::try_from(*value.as_sizer()?.size().inner()).ok()
}

fn int(size: usize) -> CelInt {
    i64::try_from(size).unwrap_or(i64::MAX).into()
}
