//! The texts of the result page, one table per language. They are written into the page as they are.

/// One message.
#[derive(Debug)]
pub(super) struct Said {
    /// What happened.
    pub(super) title: &'static str,
    /// What that means and what to do.
    pub(super) text: &'static str,
}

/// All texts in one language. Each has every text: a struct has no gaps.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) lang: &'static str,
    pub(super) signed_in: Said,
    pub(super) signed_in_unawaited: Said,
    pub(super) refused: Said,
    pub(super) not_allowed: Said,
    pub(super) expired: Said,
    pub(super) failed: Said,
    pub(super) already_used: Said,
    pub(super) not_expected: Said,
    pub(super) close: &'static str,
    pub(super) account: &'static str,
    pub(super) organisation: &'static str,
    pub(super) gateway: &'static str,
    pub(super) asked_by: &'static str,
}

pub(super) static ENGLISH: Words = Words {
    lang: "en",
    signed_in: Said {
        title: "You are signed in",
        text: "Go back to the application or the terminal that asked; it goes on by itself.",
    },
    signed_in_unawaited: Said {
        title: "You are signed in",
        text: "The application that asked has stopped waiting in the meantime. Return to Claude (or whatever asked) and start again; you will not have to sign in a second time.",
    },
    refused: Said {
        title: "You are not signed in",
        text: "The sign-in was cancelled or refused. To try again at once, run “gatepass login” in a terminal.",
    },
    not_allowed: Said {
        title: "This account cannot be used here",
        text: "You are not signed in: the account is none that this organisation allows for the gateway. Start again and choose your organisation’s account.",
    },
    expired: Said {
        title: "This sign-in has expired",
        text: "You are not signed in: it took too long. Return to Claude (or whatever asked) and start again.",
    },
    failed: Said {
        title: "The sign-in did not work",
        text: "The application or the terminal that asked says why. If it does not, run “gatepass login” in a terminal.",
    },
    already_used: Said {
        title: "This sign-in was already used",
        text: "If you are not signed in, return to Claude (or whatever asked) and start again.",
    },
    not_expected: Said {
        title: "This is not the sign-in that was expected",
        text: "Nothing has happened. If you were signing in, go back to the tab with the sign-in page.",
    },
    close: "You can close this tab.",
    account: "Account",
    organisation: "Organisation",
    gateway: "Gateway",
    asked_by: "Asked for by",
};

pub(super) static GERMAN: Words = Words {
    lang: "de",
    signed_in: Said {
        title: "Sie sind angemeldet",
        text: "Kehren Sie zu der Anwendung oder dem Terminal zurück, von wo die Anmeldung kam; dort geht es von selbst weiter.",
    },
    signed_in_unawaited: Said {
        title: "Sie sind angemeldet",
        text: "Die Anwendung, die danach gefragt hat, wartet nicht mehr. Kehren Sie zu Claude (oder der anderen Anwendung) zurück und beginnen Sie dort neu; anmelden müssen Sie sich nicht noch einmal.",
    },
    refused: Said {
        title: "Sie sind nicht angemeldet",
        text: "Die Anmeldung wurde abgebrochen oder abgelehnt. Um es sofort noch einmal zu versuchen, rufen Sie in einem Terminal „gatepass login“ auf.",
    },
    not_allowed: Said {
        title: "Dieses Konto gilt hier nicht",
        text: "Sie sind nicht angemeldet: Das Konto gehört nicht zu denen, die Ihre Organisation für das Gateway zulässt. Beginnen Sie neu und wählen Sie das Konto Ihrer Organisation.",
    },
    expired: Said {
        title: "Diese Anmeldung ist abgelaufen",
        text: "Sie sind nicht angemeldet: Es hat zu lange gedauert. Kehren Sie zu Claude (oder der anderen Anwendung) zurück und beginnen Sie dort neu.",
    },
    failed: Said {
        title: "Die Anmeldung ist fehlgeschlagen",
        text: "Die Anwendung oder das Terminal, von wo sie kam, nennt den Grund. Wenn nicht, rufen Sie in einem Terminal „gatepass login“ auf.",
    },
    already_used: Said {
        title: "Diese Anmeldung wurde schon verwendet",
        text: "Falls Sie nicht angemeldet sind, kehren Sie zu Claude (oder der anderen Anwendung) zurück und beginnen Sie dort neu.",
    },
    not_expected: Said {
        title: "Diese Anmeldung wurde nicht erwartet",
        text: "Es ist nichts geschehen. Falls Sie sich gerade anmelden, gehen Sie zurück zu dem Tab mit der Anmeldeseite.",
    },
    close: "Sie können diesen Tab schließen.",
    account: "Konto",
    organisation: "Organisation",
    gateway: "Gateway",
    asked_by: "Angefordert von",
};

pub(super) static FRENCH: Words = Words {
    lang: "fr",
    signed_in: Said {
        title: "Connexion réussie",
        text: "Revenez à l’application ou au terminal qui l’a demandé ; tout continue automatiquement.",
    },
    signed_in_unawaited: Said {
        title: "Connexion réussie",
        text: "L’application qui l’a demandé a cessé d’attendre entre-temps. Revenez à Claude (ou à l’autre application) et recommencez ; vous n’aurez pas à vous connecter une seconde fois.",
    },
    refused: Said {
        title: "La connexion n’a pas eu lieu",
        text: "Elle a été annulée ou refusée. Pour réessayer tout de suite, lancez « gatepass login » dans un terminal.",
    },
    not_allowed: Said {
        title: "Ce compte n’est pas accepté ici",
        text: "La connexion n’a pas eu lieu : ce compte ne fait pas partie de ceux que votre organisation autorise pour la passerelle. Recommencez et choisissez le compte de votre organisation.",
    },
    expired: Said {
        title: "Cette connexion a expiré",
        text: "La connexion n’a pas eu lieu : l’opération a duré trop longtemps. Revenez à Claude (ou à l’autre application) et recommencez.",
    },
    failed: Said {
        title: "La connexion a échoué",
        text: "L’application ou le terminal qui l’a demandée en donne la raison. Sinon, lancez « gatepass login » dans un terminal.",
    },
    already_used: Said {
        title: "Cette connexion a déjà été utilisée",
        text: "Si la connexion n’a pas abouti, revenez à Claude (ou à l’autre application) et recommencez.",
    },
    not_expected: Said {
        title: "Cette connexion n’était pas attendue",
        text: "Rien ne s’est passé. Si vous étiez en train de vous connecter, revenez à l’onglet de la page de connexion.",
    },
    close: "Vous pouvez fermer cet onglet.",
    account: "Compte",
    organisation: "Organisation",
    gateway: "Passerelle",
    asked_by: "Demandé par",
};

pub(super) static SPANISH: Words = Words {
    lang: "es",
    signed_in: Said {
        title: "Ha iniciado sesión",
        text: "Vuelva a la aplicación o al terminal que lo solicitó; continuará automáticamente.",
    },
    signed_in_unawaited: Said {
        title: "Ha iniciado sesión",
        text: "La aplicación que lo solicitó ha dejado de esperar. Vuelva a Claude (o a la otra aplicación) y empiece de nuevo; no tendrá que iniciar sesión otra vez.",
    },
    refused: Said {
        title: "No ha iniciado sesión",
        text: "El inicio de sesión se canceló o se rechazó. Para volver a intentarlo de inmediato, ejecute «gatepass login» en un terminal.",
    },
    not_allowed: Said {
        title: "Esta cuenta no se admite aquí",
        text: "No ha iniciado sesión: la cuenta no es una de las que su organización permite para la pasarela. Empiece de nuevo y elija la cuenta de su organización.",
    },
    expired: Said {
        title: "Este inicio de sesión ha caducado",
        text: "No ha iniciado sesión: tardó demasiado. Vuelva a Claude (o a la otra aplicación) y empiece de nuevo.",
    },
    failed: Said {
        title: "El inicio de sesión no funcionó",
        text: "La aplicación o el terminal que lo solicitó indica el motivo. Si no lo hace, ejecute «gatepass login» en un terminal.",
    },
    already_used: Said {
        title: "Este inicio de sesión ya se utilizó",
        text: "Si no ha iniciado sesión, vuelva a Claude (o a la otra aplicación) y empiece de nuevo.",
    },
    not_expected: Said {
        title: "Este no es el inicio de sesión esperado",
        text: "No ha ocurrido nada. Si estaba iniciando sesión, vuelva a la pestaña de la página de inicio de sesión.",
    },
    close: "Puede cerrar esta pestaña.",
    account: "Cuenta",
    organisation: "Organización",
    gateway: "Pasarela",
    asked_by: "Solicitado por",
};

pub(super) static JAPANESE: Words = Words {
    lang: "ja",
    signed_in: Said {
        title: "サインインしました",
        text: "サインインを求めたアプリケーションまたは端末に戻ってください。処理は自動的に続きます。",
    },
    signed_in_unawaited: Said {
        title: "サインインしました",
        text: "サインインを求めたアプリケーションは、すでに待機を終了しています。Claude（または元のアプリケーション）に戻り、もう一度やり直してください。再度サインインする必要はありません。",
    },
    refused: Said {
        title: "サインインしていません",
        text: "サインインは取り消されたか、拒否されました。すぐにやり直すには、端末で「gatepass login」を実行してください。",
    },
    not_allowed: Said {
        title: "このアカウントは使用できません",
        text: "サインインしていません。このアカウントは、組織がこのゲートウェイに許可しているものではありません。もう一度やり直し、組織のアカウントを選んでください。",
    },
    expired: Said {
        title: "このサインインは期限切れです",
        text: "時間がかかりすぎたため、サインインしていません。Claude（または元のアプリケーション）に戻り、もう一度やり直してください。",
    },
    failed: Said {
        title: "サインインできませんでした",
        text: "理由は、サインインを求めたアプリケーションまたは端末に表示されます。表示されない場合は、端末で「gatepass login」を実行してください。",
    },
    already_used: Said {
        title: "このサインインはすでに使用されています",
        text: "サインインしていない場合は、Claude（または元のアプリケーション）に戻り、もう一度やり直してください。",
    },
    not_expected: Said {
        title: "予期しないサインインです",
        text: "何も行われていません。サインインの途中だった場合は、サインインページのタブに戻ってください。",
    },
    close: "このタブは閉じてもかまいません。",
    account: "アカウント",
    organisation: "組織",
    gateway: "ゲートウェイ",
    asked_by: "要求元",
};

#[cfg(test)]
mod tests {
    use super::{ENGLISH, FRENCH, GERMAN, JAPANESE, SPANISH, Words};

    fn texts(words: &Words) -> Vec<&'static str> {
        let said = [
            &words.signed_in,
            &words.signed_in_unawaited,
            &words.refused,
            &words.not_allowed,
            &words.expired,
            &words.failed,
            &words.already_used,
            &words.not_expected,
        ];
        let names = [
            words.close,
            words.account,
            words.organisation,
            words.gateway,
            words.asked_by,
        ];
        said.iter()
            .flat_map(|said| [said.title, said.text])
            .chain(names)
            .collect()
    }

    #[test]
    fn every_text_is_there_in_every_language_and_needs_no_escaping() {
        let all = [&ENGLISH, &GERMAN, &FRENCH, &SPANISH, &JAPANESE];
        for words in all {
            for text in texts(words) {
                assert!(!text.trim().is_empty(), "{}", words.lang);
                assert!(!text.contains(['&', '<', '>', '"', '\'']), "{text}");
            }
            let sentences = texts(words);
            for other in all.iter().filter(|other| other.lang != words.lang) {
                for (number, text) in texts(other).iter().enumerate() {
                    // Labels may be the same word in two languages, sentences are not.
                    assert!(text.len() < 20 || *text != sentences[number], "{text}");
                }
            }
        }
    }
}
