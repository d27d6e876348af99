/// The known word that somebody probably meant.
public enum Nearest {
    /// The candidate with the smallest edit distance to `word` (insert, delete, replace, swap of neighbours), if it is
    /// at most a third of the word's length away, at least one; the first of equals. Words over 64 characters match nothing.
    public static func match(_ word: String, in candidates: [String]) -> String? {
        let limit = max(1, word.count / 3 + 1)
        var best: (word: String, distance: Int)?
        for candidate in candidates where candidate.count <= 64 && word.count <= 64 {
            let distance = editDistance(Array(word.lowercased()), Array(candidate.lowercased()))
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.word
    }

    /// Optimal string alignment distance.
    private static func editDistance(_ a: [Character], _ b: [Character]) -> Int {
        var before = [Int](repeating: 0, count: b.count + 1)
        var previous = Array(0...b.count)
        for i in 0..<a.count {
            var current = [i + 1]
            for j in 0..<b.count {
                var cost = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
                current.append(cost)
            }
            before = previous
            previous = current
        }
        return previous[b.count]
    }
}
