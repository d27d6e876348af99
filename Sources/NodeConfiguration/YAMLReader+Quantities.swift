/// Quantities and names as people write them: `200 ms`, `5s`, `1.5 min`; `2 %`; `10..30`; models and addresses.
extension YAMLReader {
    /// Nanoseconds of a time such as `5s`; the unit is required (ns, us, ms, s, min, h).
    public func nanoseconds(_ key: String) throws(ConfigurationError) -> Int64? {
        guard let text = try string(key) else { return nil }
        guard let time = Self.nanoseconds(text) else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text)",
                fix: "give a time with its unit, such as 200 ms, 5s or 1.5 min")
        }
        return time
    }

    /// Both ends of `5ms..40ms`; a single time counts as both ends.
    public func nanosecondsRange(_ key: String) throws(ConfigurationError) -> ClosedRange<Int64>? {
        guard let text = try string(key) else { return nil }
        let ends = Self.ends(text).map(Self.nanoseconds)
        guard let low = ends.first ?? nil, let high = ends.last ?? nil, low <= high, ends.count <= 2 else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text)", fix: "give a time or a range, such as 5ms..40ms")
        }
        return low...high
    }

    /// Both ends of `10..30`; a single number counts as both ends.
    public func integerRange(_ key: String, in range: ClosedRange<Int>) throws(ConfigurationError)
        -> ClosedRange<Int>?
    {
        guard let text = try string(key) else { return nil }
        let ends = Self.ends(text).map { Int($0) }
        guard let low = ends.first ?? nil, let high = ends.last ?? nil, low <= high, ends.count <= 2,
            range.contains(low), range.contains(high)
        else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text)",
                fix:
                    "give a whole number or a range, such as 10..30, within \(range.lowerBound)..\(range.upperBound)"
            )
        }
        return low...high
    }

    /// Parts per million of `2 %` or `0.02`.
    public func perMillion(_ key: String) throws(ConfigurationError) -> Int? {
        guard let text = try string(key) else { return nil }
        let isPercent = text.hasSuffix("%")
        let digits = String((isPercent ? text.dropLast() : text[...]).filter { $0 != " " })
        guard let number = Double(digits), number >= 0, number <= (isPercent ? 100 : 1) else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text)", fix: "give a share, such as 2 % or 0.02")
        }
        return Int((number * (isPercent ? 10_000 : 1_000_000)).rounded())
    }

    /// A canonical model name (`Protocol/models.md`); nil if absent.
    public func modelName(_ key: String) throws(ConfigurationError) -> String? {
        guard let text = try string(key) else { return nil }
        guard ModelName.isCanonical(text) else {
            let meant = ModelName(text).canonical
            throw child(key).failure(
                "`\(child(key).path)` is \(text.isEmpty ? "empty" : text), which is not a model's name",
                fix: "give 1 to \(ModelName.sizeMax) characters of a-z 0-9 . -"
                    + (ModelName.isCanonical(meant) ? ", such as \(meant)" : " (Protocol/models.md)"))
        }
        return text
    }

    /// The address of a model server; nil if absent.
    public func serverURL(_ key: String) throws(ConfigurationError) -> String? {
        guard let text = try string(key) else { return nil }
        guard Self.isServerURL(text) else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text.isEmpty ? "empty" : text), which is not an address",
                fix: "give http://host:port, such as http://127.0.0.1:8080")
        }
        return text
    }

    /// Whether `text` is `http://` or `https://` with a host, or a host with a port.
    public static func isServerURL(_ text: String) -> Bool {
        let scheme = ["http://", "https://"].first(where: text.hasPrefix)
        let authority = text.dropFirst(scheme?.count ?? 0).prefix { $0 != "/" }
        guard !authority.isEmpty, !authority.hasPrefix(":"), !text.contains(where: \.isWhitespace) else {
            return false
        }
        return scheme != nil || authority.wholeMatch(of: /.+:\d+/) != nil
    }

    /// The words of `key`, which may be a list or a single word.
    public func words(_ key: String) throws(ConfigurationError) -> [String] {
        if child(key).isAbsent { return [] }
        if child(key).isList { return try strings(key) }
        return try string(key).map { [$0] } ?? []
    }

    /// The items of `key`, which may be a list or a single mapping.
    public func items(_ key: String) throws(ConfigurationError) -> [YAMLReader] {
        let reader = child(key)
        return reader.isAbsent ? [] : reader.isList ? try list(key) : [reader]
    }

    private static let units: [(String, Double)] = [
        ("ns", 1), ("us", 1e3), ("ms", 1e6), ("min", 60e9), ("s", 1e9), ("h", 3600e9),
    ]

    /// Parses a time of at most one day; nil if `text` is not one.
    public static func nanoseconds(_ text: String) -> Int64? {
        let text = text.filter { $0 != " " }
        for (unit, factor) in units where text.hasSuffix(unit) {
            guard let number = Double(text.dropLast(unit.count)), number >= 0, number * factor <= 86_400e9
            else {
                return nil
            }
            return Int64((number * factor).rounded())
        }
        return text == "0" ? 0 : nil
    }

    private static func ends(_ text: String) -> [String] {
        let text = text.filter { $0 != " " }
        var ends: [String] = []
        var rest = text[...]
        while let dots = rest.firstRange(of: "..") {
            ends.append(String(rest[..<dots.lowerBound]))
            rest = rest[dots.upperBound...]
        }
        return ends + [String(rest)]
    }
}
