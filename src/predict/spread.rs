//! How far several models differ: the sample standard deviation (n - 1), element by element.

/// `lists`: one of each model, at least two, of equal length.
pub fn standard_deviation<'a>(lists: &'a [&'a [f32]]) -> impl Iterator<Item = f64> + 'a {
    let n = lists.len() as f64;
    let length = lists.first().map_or(0, |l| l.len());
    (0..length).map(move |i| {
        let values = lists.iter().map(|list| f64::from(list[i]));
        let mean = values.clone().sum::<f64>() / n;
        (values.map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    })
}

#[cfg(test)]
mod tests {
    use super::standard_deviation;

    #[test]
    fn divides_by_one_less_than_the_models() {
        let lists: [&[f32]; 3] = [&[1.0, 5.0], &[2.0, 5.0], &[6.0, 5.0]];
        let found: Vec<f64> = standard_deviation(&lists).collect();
        assert_eq!(found, [7.0f64.sqrt(), 0.0]);
    }
}
