// Curves as an SVG picture. Plain text, so that the simulator has no dependency for it.

/// Panels below one another, each with several curves over the same values of x.
public struct Chart: Sendable {
    public struct Line: Sendable {
        public var name: String
        public var values: [Double]
        /// `#rrggbb`; nil: the next of `colours`.
        public var colour: String?

        public init(_ name: String, _ values: [Double], colour: String? = nil) {
            self.name = name
            self.values = values
            self.colour = colour
        }
    }

    public struct Panel: Sendable {
        public var title: String
        public var lines: [Line]

        public init(_ title: String, _ lines: [Line]) {
            self.title = title
            self.lines = lines
        }
    }

    public var title: String
    /// The values of x, ascending, and their unit.
    public var xs: [Double]
    public var unit: String
    /// Powers of ten at equal distances instead of zero to the largest value.
    public var isLogarithmic = false
    public var panels: [Panel]

    private static let colours = ["#2a7f3f", "#0b6e99", "#a33b2a", "#8a5fb0", "#b08a1e", "#888888"]
    private static let (left, width, height, step) = (60.0, 730.0, 130.0, 190.0)

    public init(_ title: String, xs: [Double], unit: String, panels: [Panel]) {
        self.title = title
        self.xs = xs
        self.unit = unit
        self.panels = panels
    }

    /// An SVG document, 820 wide.
    public var svg: String {
        let total = Report.decimal(70 + Double(panels.count) * Self.step)
        var out = """
            <svg xmlns="http://www.w3.org/2000/svg" width="820" height="\(total)" font-family="sans-serif" font-size="12">
            <rect width="820" height="\(total)" fill="white"/>
            <text x="60" y="24" font-size="15">\(Self.escaped(title))</text>

            """
        for (index, panel) in panels.enumerated() { out += draw(panel, top: 60 + Double(index) * Self.step) }
        return out + "</svg>\n"
    }

    private func draw(_ panel: Panel, top: Double) -> String {
        let decimal = Report.decimal
        let values = panel.lines.flatMap(\.values)
        let most = max(values.max() ?? 1, isLogarithmic ? 1e-9 : 1)
        let least = isLogarithmic ? max(values.min() ?? 1, most / 1e6) : 0
        let span = isLogarithmic ? max(SteadyMath.ln(most / least), 1e-9) : most
        let (start, end) = isLogarithmic ? (xs.first ?? 0, xs.last ?? 1) : (0, xs.last ?? 1)
        let bottom = top + Self.height
        func place(_ x: Double, _ value: Double) -> String {
            let share = isLogarithmic ? SteadyMath.ln(max(value, least) / least) / span : value / span
            return decimal(Self.left + (x - start) / max(end - start, 0.001) * Self.width) + ","
                + decimal(bottom - share * Self.height)
        }
        var out = """
            <text x="60" y="\(decimal(top - 8))">\(Self.escaped(panel.title))</text>
            <rect x="60" y="\(decimal(top))" width="730" height="130" fill="none" stroke="#cccccc"/>
            <text x="54" y="\(decimal(top + 10))" text-anchor="end">\(decimal(isLogarithmic ? most : most.rounded()))</text>
            <text x="54" y="\(decimal(bottom))" text-anchor="end">\(decimal(least))</text>
            <text x="790" y="\(decimal(bottom + 15))" text-anchor="end">\(decimal(end)) \(Self.escaped(unit))</text>

            """
        let room = 490 / Double(max(3, panel.lines.count))
        for (index, line) in panel.lines.enumerated() {
            let colour = line.colour ?? Self.colours[index % Self.colours.count]
            let points = zip(xs, line.values).map { place($0, $1) }.joined(separator: " ")
            out += """
                <polyline fill="none" stroke="\(colour)" stroke-width="1.5" points="\(points)"/>
                <text x="\(decimal(300 + Double(index) * room))" y="\(decimal(top - 8))" fill="\(colour)">\(Self.escaped(line.name))</text>

                """
        }
        return out
    }

    private static func escaped(_ text: String) -> String {
        var out = ""
        for character in text {
            switch character {
            case "<": out += "&lt;"
            case "&": out += "&amp;"
            default: out.append(character)
            }
        }
        return out
    }
}
