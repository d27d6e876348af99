import Cryptography
import Primitives
import Sessions
import Wire

/// The behaviour of a hostile machine.
public enum Hostility: Sendable {
    /// Answers, but names only fellow liars (`Lies`); among its contacts are forged ones of honest nodes.
    case lie
    /// Sends handshakes that it never completes, and offers of invented nodes, half of each, to the honest
    /// nodes of the list or, if it is empty, to all.
    case flood(perSecond: Int, victims: [Int])
    /// Overhears the mesh and sends datagrams again, to their original receivers and to others, from the
    /// original address and from its own.
    case replay(perSecond: Int)
}

/// The attacker's program on a machine of the mesh: the real `Sessions`, so that it speaks the protocol on
/// either carrier, and above them a script instead of a core (`World+Hostile`). It keeps the key and address
/// of its machine, so that nodes which knew the honest node know this one.
final class Impostor {
    let hostility: Hostility
    var sessions: Sessions
    var output = SessionOutput()
    var turn: Turn
    var random: SeededRandom {
        _read { yield turn.random }
        _modify { yield &turn.random }
    }
    let contact: Verified<Contact>
    /// Its registrations by topic, signed once.
    var registrations: [TopicID: Verified<Registration>] = [:]
    /// First messages to victims: made once and sent repeatedly, since a victim can't tell (it assumes that
    /// they are replayed) and has the same cost.
    var handshakes: [(bytes: [UInt8], to: Int32)] = []
    var offers: [SignedRecord] = []

    init(
        _ hostility: Hostility, sessions: Sessions, contact: Verified<Contact>, turn: Turn
    ) {
        self.hostility = hostility
        self.sessions = sessions
        self.contact = contact
        self.turn = turn
    }
}
