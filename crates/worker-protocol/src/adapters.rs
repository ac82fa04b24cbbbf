//! Adapters that a request chooses among those of its model.
//!
//! Not here: which adapters a model has (`Load`), how a client says which it wants (`dialect`).

use crate::{Adapter, ChosenAdapter, Scale, WhichAdapter, limits::ADAPTER_SCALE_MAX};

/// How strongly each of a model's adapters acts in a request, in the model's order. Of an adapter that is
/// chosen twice the last choice counts, as in llama.cpp's server.
///
/// # Errors
/// A fragment that says which choice there is none for, and what there is.
pub fn scales(
    adapters: &[Adapter],
    chosen: Option<&[ChosenAdapter]>,
) -> Result<Vec<Scale>, String> {
    let Some(chosen) = chosen else {
        return Ok(adapters.iter().map(|adapter| adapter.scale).collect());
    };
    let mut scales = vec![Scale(0.0); adapters.len()];
    for ChosenAdapter { adapter, scale } in chosen {
        let place = match adapter {
            WhichAdapter::Place(place) => usize::try_from(*place).ok(),
            WhichAdapter::Name(name) => adapters.iter().position(|one| one.name == *name),
        };
        let slot = place.and_then(|place| scales.get_mut(place));
        let slot = slot.ok_or_else(|| unknown(adapter, adapters))?;
        if !scale.0.is_finite() || scale.0.abs() > ADAPTER_SCALE_MAX {
            return Err(format!(
                "adapter {} is to act with a scale of {}; it must be from -{ADAPTER_SCALE_MAX} to \
                 {ADAPTER_SCALE_MAX}, and is 1 as the adapter was trained",
                shown(adapter),
                scale.0
            ));
        }
        *slot = *scale;
    }
    Ok(scales)
}

fn unknown(wanted: &WhichAdapter, adapters: &[Adapter]) -> String {
    let wanted = shown(wanted);
    if adapters.is_empty() {
        return format!(
            "adapter {wanted} is chosen, and the model has none; list some as adapters in its table of the \
             configuration, or choose none"
        );
    }
    let names = adapters.iter().enumerate();
    let names: Vec<String> =
        names.map(|(place, adapter)| format!("{place} '{}'", adapter.name)).collect();
    format!("adapter {wanted} is chosen, and the model has {}; choose of these", names.join(", "))
}

fn shown(adapter: &WhichAdapter) -> String {
    match adapter {
        WhichAdapter::Place(place) => place.to_string(),
        WhichAdapter::Name(name) => format!("'{name}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(adapter: WhichAdapter, scale: f32) -> ChosenAdapter {
        ChosenAdapter { adapter, scale: Scale(scale) }
    }

    fn model() -> [Adapter; 3] {
        [("law", 1.0), ("style", 0.5), ("7", -1.0)].map(|(name, scale)| Adapter {
            name: name.to_owned(),
            path: format!("{name}.gguf").into(),
            scale: Scale(scale),
        })
    }

    #[test]
    fn what_is_not_chosen_does_not_act_and_without_a_choice_all_act_as_configured() {
        let name = |name: &str| WhichAdapter::Name(name.to_owned());
        let scales = |chosen: Option<&[ChosenAdapter]>| {
            scales(&model(), chosen).unwrap().iter().map(|scale| scale.0).collect::<Vec<_>>()
        };
        assert_eq!(scales(None), [1.0, 0.5, -1.0]);
        assert_eq!(scales(Some(&[])), [0.0; 3]);
        let two = [chosen(WhichAdapter::Place(1), 0.25), chosen(name("law"), 2.0)];
        assert_eq!(scales(Some(&two)), [2.0, 0.25, 0.0]);
        let twice = [chosen(name("7"), 1.0), chosen(WhichAdapter::Place(2), 3.0)];
        assert_eq!(scales(Some(&twice)), [0.0, 0.0, 3.0], "the last one counts");
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        let refused = |adapters: &[Adapter], adapter, scale| {
            scales(adapters, Some(&[chosen(adapter, scale)])).unwrap_err()
        };
        let words = "adapter 3 is chosen, and the model has 0 'law', 1 'style', 2 '7'";
        assert!(refused(&model(), WhichAdapter::Place(3), 1.0).contains(words));
        let by_name = refused(&model(), WhichAdapter::Name("a".to_owned()), 1.0);
        assert!(by_name.contains("adapter 'a' is chosen"), "{by_name}");
        assert!(refused(&[], WhichAdapter::Place(0), 1.0).contains("the model has none"));
        for scale in [f32::NAN, f32::INFINITY, 100.5, -1e9] {
            let why = refused(&model(), WhichAdapter::Place(0), scale);
            assert!(why.contains("from -100 to 100"), "{why}");
        }
    }
}
