// A run's main curves as an SVG picture: three panels over virtual time. Plain text, so that the simulator
// has no dependency for it.

extension Report {
    private struct Panel {
        var title: String
        var lines: [(name: String, colour: String, values: [Double])]
    }

    /// An SVG document, 820 × 640.
    public var chart: String {
        let samples = curves.samples
        let times = samples.map { $0.at.seconds }
        var rates: [Double] = []
        for (index, sample) in samples.enumerated() {
            let before = index > 0 ? samples[index - 1] : nil
            let seconds = sample.at.seconds - (before?.at.seconds ?? 0)
            let bytes = Double(sample.bytesSent - (before?.bytesSent ?? 0))
            rates.append(seconds > 0 ? bytes / seconds / Double(max(1, sample.nodesUp)) : 0)
        }
        let panels = [
            Panel(
                title: "nodes",
                lines: [
                    ("up", "#888888", samples.map { Double($0.nodesUp) }),
                    ("know every offer", "#0b6e99", samples.map { Double($0.nodesKnowing) }),
                ]),
            Panel(
                title: "tasks",
                lines: [
                    ("submitted", "#888888", samples.map { Double($0.submitted) }),
                    ("delivered", "#2a7f3f", samples.map { Double($0.delivered) }),
                ]),
            Panel(title: "bytes sent per node and second", lines: [("bytes/s", "#a33b2a", rates)]),
        ]
        var out = """
            <svg xmlns="http://www.w3.org/2000/svg" width="820" height="640" font-family="sans-serif" font-size="12">
            <rect width="820" height="640" fill="white"/>
            <text x="60" y="24" font-size="15">\(Self.escaped(scenario)), seed \(seed), \(nodes) nodes</text>

            """
        for (index, panel) in panels.enumerated() {
            out += Self.draw(panel, times, top: 60 + Double(index) * 190)
        }
        return out + "</svg>\n"
    }

    private static func draw(_ panel: Panel, _ times: [Double], top: Double) -> String {
        let left = 60.0
        let width = 730.0
        let height = 130.0
        let end = max(times.last ?? 1, 0.001)
        let most = max(panel.lines.flatMap(\.values).max() ?? 1, 1)
        var out = """
            <text x="60" y="\(decimal(top - 8))">\(panel.title)</text>
            <rect x="60" y="\(decimal(top))" width="730" height="130" fill="none" stroke="#cccccc"/>
            <text x="54" y="\(decimal(top + 10))" text-anchor="end">\(decimal(most.rounded()))</text>
            <text x="54" y="\(decimal(top + height))" text-anchor="end">0</text>
            <text x="790" y="\(decimal(top + height + 15))" text-anchor="end">\(decimal(end)) s</text>

            """
        for (index, line) in panel.lines.enumerated() {
            let points = zip(times, line.values).map { time, value in
                decimal(left + time / end * width) + "," + decimal(top + height - value / most * height)
            }.joined(separator: " ")
            out += """
                <polyline fill="none" stroke="\(line.colour)" stroke-width="1.5" points="\(points)"/>
                <text x="\(decimal(300 + Double(index) * 150))" y="\(decimal(top - 8))" fill="\(line.colour)">\(line.name)</text>

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
