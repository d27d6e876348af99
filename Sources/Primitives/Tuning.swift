public enum Tuning {
    nonisolated(unsafe) public static var values: [String: Double] = [:]
    public static func get(_ name: String, _ d: Double) -> Double { values[name] ?? d }
}
