//! The values of a chart, told apart.

use std::collections::BTreeMap;

use engine_sdk::columns::Cells;
use indexmap::IndexMap;

use crate::totals::Running;

/// As many values are told apart.
pub const MOST: usize = 10_000;

/// Rows with one value of `x`.
pub struct Group {
    pub name: String,
    /// Where it stands, where values have an order.
    order: f64,
    pub running: Running,
}

/// The groups so far.
pub struct Groups {
    /// Whether values have an order of their own.
    is_ordered: bool,
    /// By what is shown.
    named: IndexMap<String, Group>,
    /// Where there are too many of them, and they have an order: neighbours as one.
    joined: Option<Joined>,
    /// Of rows whose values were not told apart and have no order.
    pub beyond: Running,
}

/// Groups of equal parts of the values' order.
struct Joined {
    origin: f64,
    width: f64,
    parts: BTreeMap<i64, Group>,
}

impl Groups {
    pub fn new(is_ordered: bool) -> Self {
        Self { is_ordered, named: IndexMap::new(), joined: None, beyond: Running::default() }
    }

    pub fn len(&self) -> usize {
        self.joined.as_ref().map_or(self.named.len(), |joined| joined.parts.len())
    }

    /// Whether neighbours were joined.
    pub fn are_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::new(self.is_ordered);
    }

    /// What takes a value that is shown as a text and stands at a place.
    pub fn of(&mut self, name: &str, order: f64) -> &mut Running {
        if self.joined.is_none() && self.named.len() >= MOST && !self.named.contains_key(name) {
            if !self.is_ordered {
                return &mut self.beyond;
            }
            self.joined = Some(Joined::of(std::mem::take(&mut self.named)));
        }
        match &mut self.joined {
            Some(joined) => joined.take(name, order),
            None => {
                // No text is copied for a value that is known.
                let at = self.named.get_index_of(name).unwrap_or_else(|| {
                    let group = Group { name: name.to_owned(), order, running: Running::default() };
                    self.named.insert_full(name.to_owned(), group).0
                });
                &mut self.named[at].running
            }
        }
    }

    /// All groups: in the order of their values, or in that in which they came.
    pub fn all(&self) -> Vec<&Group> {
        if let Some(joined) = &self.joined {
            return joined.parts.values().collect();
        }
        let mut all: Vec<&Group> = self.named.values().collect();
        if self.is_ordered {
            all.sort_by(|left, right| left.order.total_cmp(&right.order));
        }
        all
    }
}

impl Joined {
    /// Of too many groups, as half as many parts as there may be.
    fn of(named: IndexMap<String, Group>) -> Self {
        let mut orders: Vec<f64> = named.values().map(|group| group.order).filter(|it| it.is_finite()).collect();
        orders.sort_by(f64::total_cmp);
        let origin = orders.first().copied().unwrap_or_default();
        let span = orders.last().map_or(0.0, |last| last - origin);
        // Of days and whole numbers, parts as wide as several steps have equally many of them.
        let steps = orders.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.0);
        let mut width = steps.fold(f64::MAX, f64::min).max(span / 1e12);
        while span / width > MOST as f64 / 2.0 && width.is_normal() {
            width *= 2.0;
        }
        let mut joined = Self { origin, width, parts: BTreeMap::new() };
        for group in named.into_values() {
            joined.put(joined.part(group.order), group);
        }
        joined
    }

    /// The part that a value belongs to. What has no place among others (no value) is the last one.
    fn part(&self, order: f64) -> i64 {
        let parts = ((order - self.origin) / self.width).floor();
        if parts.is_nan() { i64::MAX } else { parts as i64 }
    }

    fn put(&mut self, part: i64, group: Group) {
        match self.parts.get_mut(&part) {
            Some(known) => known.join(group),
            None => {
                self.parts.insert(part, group);
            }
        }
    }

    fn take(&mut self, name: &str, order: f64) -> &mut Running {
        let mut part = self.part(order);
        while self.parts.len() >= MOST && !self.parts.contains_key(&part) {
            self.double();
            part = self.part(order);
        }
        let new = || Group { name: name.to_owned(), order, running: Running::default() };
        let group = self.parts.entry(part).or_insert_with(new);
        if order < group.order {
            *group = Group { name: name.to_owned(), order, running: std::mem::take(&mut group.running) };
        }
        &mut group.running
    }

    /// Makes each part twice as wide.
    fn double(&mut self) {
        self.width *= 2.0;
        for (part, group) in std::mem::take(&mut self.parts) {
            let part = if matches!(part, i64::MIN | i64::MAX) { part } else { part.div_euclid(2) };
            self.put(part, group);
        }
    }
}

impl Group {
    /// Takes the rows of another one; the first of both says what they are called.
    fn join(&mut self, other: Self) {
        self.running.join(&other.running);
        if other.order < self.order {
            (self.name, self.order) = (other.name, other.order);
        }
    }
}

/// Where a value stands among others.
pub fn order(cells: &Cells, row: usize) -> f64 {
    if cells.is_null(row) {
        return f64::INFINITY;
    }
    match cells {
        Cells::Integer(column) | Cells::Time(column, _) | Cells::Timestamp(column, ..) => column.value(row) as f64,
        Cells::Unsigned(column) => column.value(row) as f64,
        Cells::Float32(column) => column.value(row).into(),
        Cells::Float64(column) => column.value(row),
        Cells::Decimal(column, _) => column.value(row) as f64,
        Cells::LongDecimal(column, _) => column.value(row).to_string().parse().unwrap_or_default(),
        Cells::Date(column) => column.value(row).into(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};
    use chrono_tz::Tz;

    use super::*;
    use crate::cell::Look;
    use crate::config::Total;
    use crate::formats::{Format, Marks};

    /// Groups of numbers, with the value 1 for each.
    fn groups(numbers: impl Iterator<Item = i64>) -> Groups {
        let marks = Marks { decimal: ".".into(), thousands: ",".into() };
        let look = Look { format: Format::Plain, marks, zone: Tz::UTC };
        let one = Cells::new(&(Arc::new(Int64Array::from(vec![1])) as ArrayRef)).unwrap();
        let mut groups = Groups::new(true);
        for number in numbers {
            groups.of(&number.to_string(), number as f64).add(&one, 0, &look, &mut Vec::new());
        }
        groups
    }

    #[test]
    fn neighbours_are_joined_so_that_every_part_is_as_wide_as_the_others() {
        for step in [1, 7_919] {
            // Also in no order: 7,919 is a prime.
            let groups = groups((0..50_000).map(|at| at * step % 50_000));
            let sums: Vec<f64> = groups.all().iter().map(|group| group.running.number(Total::Sum)).collect();
            assert!((1_000..=MOST).contains(&groups.len()) && groups.are_joined(), "{}", groups.len());
            assert_eq!(sums.iter().sum::<f64>(), 50_000.0);
            // The last one may not be full.
            assert!(sums[..sums.len() - 1].iter().all(|sum| *sum == sums[0]), "{sums:?}");
            assert_eq!(groups.all()[0].name, "0");
        }
    }

    #[test]
    fn values_that_are_few_are_not_joined() {
        let groups = groups((0..MOST as i64).chain([5, 3]));
        assert!(!groups.are_joined());
        assert_eq!(groups.all()[5].running.number(Total::Count), 2.0);
    }
}
