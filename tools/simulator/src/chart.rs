//! Lines over time as an SVG picture, for people who compare plans.

use plotters::prelude::*;

/// Width and height in pixels.
const SIZE: (u32, u32) = (960, 480);

/// One line: its name, and points of x and y.
pub type Line = (String, Vec<(f64, f64)>);

/// A picture of `lines`; empty when there is nothing to draw.
#[must_use]
pub fn svg(title: &str, (x_name, y_name): (&str, &str), lines: &[Line]) -> String {
    let mut picture = String::new();
    // A picture in memory has no reason to fail; without one, nothing is shown.
    match draw(&mut picture, title, (x_name, y_name), lines) {
        Ok(()) => picture,
        Err(_) => String::new(),
    }
}

fn draw(
    picture: &mut String,
    title: &str,
    (x_name, y_name): (&str, &str),
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let most = |of: fn(&(f64, f64)) -> f64| {
        let points = lines.iter().flat_map(|(_, points)| points);
        points.map(of).fold(1.0_f64, f64::max)
    };
    let root = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1) * 1.05)?;
    chart.configure_mesh().x_desc(x_name).y_desc(y_name).light_line_style(WHITE).draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let style = ShapeStyle { color: colour, filled: false, stroke_width: 2 };
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_lines_and_names() {
        let lines = [
            ("one".to_owned(), vec![(0.0, 0.0), (1.0, 5.0)]),
            ("two".to_owned(), vec![(0.0, 3.0), (2.0, 3.0)]),
        ];
        let picture = svg("Plan", ("hours", "recipients"), &lines);
        for part in ["<svg", "Plan", "hours", "recipients", "one", "two", "<polyline"] {
            assert!(picture.contains(part), "{part}");
        }
    }
}
