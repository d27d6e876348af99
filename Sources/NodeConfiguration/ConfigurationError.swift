/// What is wrong in a YAML file, where, and the fix.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    public var file: String
    /// 1-based; nil when the problem has no single place.
    public var line: Int?
    public var problem: String
    public var fix: String

    public init(file: String, line: Int?, problem: String, fix: String) {
        self.file = file
        self.line = line
        self.problem = problem
        self.fix = fix
    }

    public var description: String { "\(file)\(line.map { ":\($0)" } ?? ""): \(problem)" }
}
