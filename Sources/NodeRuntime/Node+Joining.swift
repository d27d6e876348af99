import Cryptography
import Dispatch
import Logging
import MeshDocuments
import NodeConfiguration
import PeerCore
import Primitives
import Sessions
import UVLoop
import Wire

// Why a node of `mesh.join` doesn't answer. The mesh's own packets can't tell: a node gives no answer to what it isn't
// meant to understand. So this node looks whether anything listens there.
extension Node {
    static let joinLooks = (first: Interval.seconds(4), then: Interval.minutes(1))

    /// The nodes of `mesh.join`, in the file's order.
    var joinDocuments: [JoinDocument] {
        let reached = reachedJoins
        return settings.mesh.join.map { url in
            JoinDocument(
                url: url.description, reached: reached.contains(url),
                problem: reached.contains(url) ? nil : joinProblems[url])
        }
    }

    private var reachedJoins: Set<PeerURL> { joins { $0.isReached } }

    private func joins(
        _ isMeant: ((address: PeerAddress, isReached: Bool, hasAnswered: Bool)) -> Bool
    ) -> Set<PeerURL> {
        Set(
            peer.bootstrap.filter(isMeant).map {
                PeerURL(key: $0.address.key, endpoint: $0.address.endpoint)
            })
    }

    /// A contact is gone. If it is a node of `mesh.join`, the operator hears of it, unless it is back at once.
    func joinLeft(_ key: PublicKey) {
        let urls = settings.mesh.join.filter { $0.key == key }
        guard !urls.isEmpty else { return }
        joinsReachedOnce.formUnion(urls)
        joinTimer?.arm(after: Self.joinLooks.first)
    }

    func lookAtJoins() {
        joinTimer?.arm(after: Self.joinLooks.then)
        let reached = reachedJoins
        for url in settings.mesh.join {
            guard !reached.contains(url) else {
                joinsReachedOnce.insert(url)
                if joinProblems.removeValue(forKey: url) != nil {
                    log.notice("reached", metadata: ["node": "\(url)"])
                }
                continue
            }
            let questions = questions(url.key)
            Task {
                let sight = await Self.look(at: url.endpoint, asking: questions.map(\.bytes))
                self.noteJoin(url, sight, questions)
            }
        }
    }

    /// Whether a node has this key and our secret; and whether it has this key and no secret, if we have one.
    private func questions(_ key: PublicKey) -> [VersionQuestion] {
        let own = MeshIdentity(name: settings.mesh.name, key: settings.mesh.secret.map { Array($0.utf8) })
        let meshes = settings.mesh.secret == nil ? [own] : [own, MeshIdentity(name: settings.mesh.name)]
        return meshes.map { VersionQuestion(to: key, of: $0, noise: SecureRandom.bytes32()) }
    }

    /// One after the other, on a thread of their own: each waits for the network.
    private static let looks = DispatchQueue(label: "starling.join")

    private static func look(
        at endpoint: Endpoint, asking datagrams: [[UInt8]]
    ) async -> ThisMachine.Sight {
        await withCheckedContinuation { continuation in
            looks.async {
                continuation.resume(returning: ThisMachine.look(at: endpoint, asking: datagrams))
            }
        }
    }

    private func noteJoin(_ url: PeerURL, _ sight: ThisMachine.Sight, _ questions: [VersionQuestion]) {
        let reached = reachedJoins
        guard !reached.contains(url) else { return }
        let isAnswered = questions.map { question in sight.answers.contains { question.isAnswered(by: $0) } }
        let knowsUs = isAnswered.first ?? false
        let problem: String
        if joinsReachedOnce.contains(url) {
            problem =
                "\(url) was reached before, and doesn't answer now: see whether its node runs; this one tries it again by itself"
        } else if url.key == identity.publicKey {
            if knowsUs, !isOwn(url.endpoint) {
                ownKeySeen = OwnKeyUse(endpoint: url.endpoint, at: SystemClock.monotonic)
                problem = ownKeyProblem ?? ""
            } else {
                problem = "\(url) has this node's own key: name another node in mesh.join"
            }
        } else {
            problem =
                JoinProblem(
                    endpoint: url.endpoint, sight: sight, listen: settings.mesh.listen,
                    own: ThisMachine.addresses(), isJoined: peer.contactCount > 0,
                    answers: joins { $0.hasAnswered }.contains(url), knowsUs: knowsUs,
                    hasNoSecret: isAnswered.dropFirst().first ?? false
                ).description
        }
        guard joinProblems[url] != problem else { return }
        joinProblems[url] = problem
        log.warning("\(problem)", metadata: ["join": "\(url)"])
    }
}

extension Node {
    /// Whether this very process listens there.
    private func isOwn(_ endpoint: Endpoint) -> Bool {
        let isHere =
            endpoint.isLoopback || ThisMachine.addresses().contains { $0.host == endpoint.host }
        return peer.ownEndpoints.contains(endpoint) || isHere && endpoint.port == meshEndpoint.port
    }
}

/// What keeps a node from another one of `mesh.join`, by what was seen at its address.
struct JoinProblem: CustomStringConvertible {
    var endpoint: Endpoint
    var sight: ThisMachine.Sight
    /// Of this node.
    var listen: Endpoint
    /// This machine's addresses.
    var own: [Endpoint]
    /// This node has contacts, under the same name and secret.
    var isJoined = false
    /// The node answers, with a contact that has no address for this one.
    var answers = false
    /// A node there has the key of `mesh.join` and our secret.
    var knowsUs = false
    /// A node there has the key of `mesh.join` and, other than ours, no secret.
    var hasNoSecret = false

    var description: String {
        let isLocal = endpoint.isLoopback || endpoint.isPrivate
        switch sight.connection {
        case .accepted where sight.refusesDatagrams:
            return """
                what listens at \(endpoint) is no Starling node, for nothing has UDP port \(endpoint.port) there: correct \
                the address in mesh.join
                """
        case _ where hasNoSecret:
            return """
                the node at \(endpoint) has no mesh.secret: its mesh is public, and this node's is private. Write the same \
                mesh.secret into both files, or into none
                """
        case _ where answers && isLocal && !listen.isLoopback && !listen.isPrivate:
            let address =
                endpoint.isLoopback
                ? "127.0.0.1" : (own.first { $0.isPrivate }?.host ?? "this machine's address")
            return """
                \(endpoint) is an address of \(endpoint.isLoopback ? "this machine alone" : "a local network"), and a node \
                that isn't told to be local takes no such contact: set mesh.address: \(address) here, and mesh.address: \
                \(endpoint.host) in the other node's file
                """
        case _ where answers && isLocal:
            return """
                the node at \(endpoint) answers, and isn't told that this is its address: set mesh.address: \
                \(endpoint.host) in its file, and start it again
                """
        case _ where answers:
            return """
                the node at \(endpoint) answers, and knows no address of its own yet: state it in its file, as mesh.public: \
                \(endpoint)
                """
        case _ where knowsUs:
            return """
                the node at \(endpoint) has the key of mesh.join and this node's mesh.secret, and is of another mesh: its \
                mesh.name is not this node's
                """
        case .accepted where isJoined:
            return """
                the node at \(endpoint) hasn't the key that mesh.join names, though others of this mesh answer: copy the \
                line `join with` of its `starling status`
                """
        case .accepted:
            return """
                a program listens at \(endpoint) and doesn't answer this node: its key is not the one in mesh.join, or its \
                mesh.secret is not this node's. Compare the line `join with` of its `starling status`, and mesh.secret \
                in both files
                """
        case .refused:
            return """
                no program listens at \(endpoint): start the node there, or correct its address in mesh.join
                """
        case .silent:
            return """
                nothing answers at \(endpoint): the address in mesh.join is wrong, its machine is down, or a firewall drops \
                UDP and TCP to port \(endpoint.port)
                """
        case .unreachable(let code):
            return """
                \(endpoint) can't be reached from here (\(SocketError.reason(code))): check the address in mesh.join and this \
                machine's network
                """
        }
    }
}
