extension Report {
    /// The run's main curves over virtual time: an SVG document.
    public var chart: String {
        let samples = curves.samples
        var rates: [Double] = []
        for (index, sample) in samples.enumerated() {
            let before = index > 0 ? samples[index - 1] : nil
            let seconds = sample.at.seconds - (before?.at.seconds ?? 0)
            let bytes = Double(sample.bytesSent - (before?.bytesSent ?? 0))
            rates.append(seconds > 0 ? bytes / seconds / Double(max(1, sample.nodesUp)) : 0)
        }
        let (grey, blue, green, red) = ("#888888", "#0b6e99", "#2a7f3f", "#a33b2a")
        let panels = [
            Chart.Panel(
                "nodes",
                [
                    Chart.Line("up", samples.map { Double($0.nodesUp) }, colour: grey),
                    Chart.Line("know every offer", samples.map { Double($0.nodesKnowing) }, colour: blue),
                ]),
            Chart.Panel(
                "tasks",
                [
                    Chart.Line("submitted", samples.map { Double($0.submitted) }, colour: grey),
                    Chart.Line("delivered", samples.map { Double($0.delivered) }, colour: green),
                ]),
            Chart.Panel("bytes sent per node and second", [Chart.Line("bytes/s", rates, colour: red)]),
        ]
        let title = "\(scenario), seed \(seed), \(nodes) nodes"
        return Chart(title, xs: samples.map { $0.at.seconds }, unit: "s", panels: panels).svg
    }
}
