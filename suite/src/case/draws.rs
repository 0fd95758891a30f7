//! How much of a case is drawn.

/// How much of a case is drawn for a rule. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draws {
    /// Nothing: one case is enough.
    Nothing,
    /// A model and a configuration.
    Setup,
    /// Guest steps, the points of migration, the pieces that bytes travel in.
    Script,
    /// Accidental damage to the state in transit.
    Accident,
    /// Any damage, also with corrected checksums.
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
