//! How much of a case is drawn.

/// How much of a case is drawn for a rule: each level has all of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draws {
    /// Nothing: one case says it all.
    Nothing,
    /// A model and a configuration.
    Setup,
    /// Guest steps, the points of migration, the pieces that bytes travel in.
    Script,
    /// Damage that nobody intended, to the state on its way.
    Accident,
    /// Any damage, also what is made to look whole.
    Damage,
    /// States to ask for.
    Walk,
}

impl Draws {
    /// Whether the damage is what the rule is about.
    pub fn is_damage(self) -> bool {
        matches!(self, Draws::Accident | Draws::Damage)
    }
}
