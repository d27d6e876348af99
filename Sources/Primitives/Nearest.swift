// "Did you mean …?" for model names, preference keys and configuration keys.

/// Finds the names that a mistyped one may have meant.
public enum Nearest {
    /// Longer names are compared by this many characters, because the cost is quadratic.
    public static let comparedMax = 64

    /// Insertions, deletions, replacements and swaps of neighbours between two names, ignoring case. Source:
    /// optimal string alignment (Damerau 1964), keeping two rows.
    public static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.lowercased().utf8.prefix(comparedMax))
        let b = Array(b.lowercased().utf8.prefix(comparedMax))
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 1...a.count {
            var row = [i]
            row.reserveCapacity(b.count + 1)
            for j in 1...b.count {
                var best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    best = min(best, beforeLast[j - 2] + 1)
                }
                row.append(best)
            }
            beforeLast = last
            last = row
        }
        return last[b.count]
    }

    /// The candidates close enough to be meant, closest first, at most `count`. Close enough means no more
    /// edits than a third of the longer name (at least two), or that one begins with the other.
    public static func matches(_ name: String, in candidates: [String], count: Int = 3) -> [String] {
        let wanted = name.lowercased()
        var found: [(distance: Int, name: String)] = []
        for candidate in candidates {
            let other = candidate.lowercased()
            let edits = distance(wanted, other)
            let limit = max(2, max(wanted.utf8.count, other.utf8.count) / 3)
            let begins = wanted.utf8.count >= 2 && (other.hasPrefix(wanted) || wanted.hasPrefix(other))
            if !other.isEmpty, edits <= limit || begins { found.append((edits, candidate)) }
        }
        found.sort { ($0.distance, $0.name) < ($1.distance, $1.name) }
        return found.prefix(count).map(\.name)
    }

    /// The candidate most likely meant; nil when none is close.
    public static func match(_ name: String, in candidates: [String]) -> String? {
        matches(name, in: candidates, count: 1).first
    }

    /// `a`, `a or b`, `a, b or c`.
    public static func list(_ names: [String]) -> String {
        guard let last = names.last, names.count > 1 else { return names.first ?? "" }
        return names.dropLast().joined(separator: ", ") + " or " + last
    }
}
