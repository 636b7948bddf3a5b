import { useCallback, useEffect, useRef, useState, type FormEvent, type ReactNode } from "react";
import { api, post, type Session } from "./api";
import { LiveContext, link, SessionContext, ThemeContext, useAddress, useLiveFeed } from "./hooks";
import { Batches } from "./pages/batches";
import { Budgets } from "./pages/budgets";
import { Cost } from "./pages/cost";
import { DeadLetters } from "./pages/dead";
import { Decisions } from "./pages/decisions";
import { Jobs } from "./pages/jobs";
import { Overview } from "./pages/overview";
import { Performance } from "./pages/performance";
import { Pools } from "./pages/pools";
import { TimePicker } from "./ui";

type Page = { path: string; name: string; icon: string; timed?: boolean; show: () => ReactNode };

const pages: Page[] = [
  { path: "", name: "Overview", icon: "M3 12l4-4 4 3 6-7M3 17h14", show: () => <Overview /> },
  { path: "pools", name: "Pools", icon: "M4 5h12v4H4zM4 11h12v4H4zM6.500 7h.01M6.500 13h.01", show: () => <Pools /> },
  { path: "performance", name: "Performance", icon: "M10 17a7 7 0 1 1 7-7M10 10l4-3", timed: true, show: () => <Performance /> },
  { path: "cost", name: "Cost", icon: "M10 3v14M13.500 6.500C13 5 11.500 4.800 10 4.800c-2 0-3.500.9-3.500 2.500 0 3.800 7.200 1.600 7.200 5.300 0 1.700-1.700 2.600-3.700 2.600-1.800 0-3.400-.6-3.800-2.300", timed: true, show: () => <Cost /> },
  { path: "decisions", name: "Decisions", icon: "M4 4v4c0 2 1 3 3 3h6c2 0 3 1 3 3v2M4 11v5M13 13l3 3 3-3", show: () => <Decisions /> },
  { path: "jobs", name: "Jobs", icon: "M4 5h12M4 10h12M4 15h7", show: () => <Jobs /> },
  { path: "batches", name: "Batches", icon: "M4 4h12v3H4zM4 8.500h12v3H4zM4 13h7v3H4z", show: () => <Batches /> },
  { path: "budgets", name: "Budgets", icon: "M3 6h14v9H3zM3 9h14M6 12.5h3", show: () => <Budgets /> },
  { path: "dead", name: "Dead letters", icon: "M3 6l7 5 7-5M3 5h14v10H3z", show: () => <DeadLetters /> },
];

const Icon = ({ d }: { d: string }) => (
  <svg viewBox="0 0 20 20" width="20" height="20" fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true"><path d={d} /></svg>
);

function useTheme(): [string, () => void] {
  const system = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const [own, setOwn] = useState<string | null>(() => localStorage.getItem("theme"));
  const [sys, setSys] = useState(system);
  useEffect(() => {
    const m = matchMedia("(prefers-color-scheme: dark)");
    const f = () => setSys(system());
    m.addEventListener("change", f);
    return () => m.removeEventListener("change", f);
  }, []);
  const theme = own ?? sys;
  document.documentElement.dataset.theme = theme;
  return [theme, useCallback(() => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", next);
    setOwn(next);
  }, [])];
}

/** Keys 1 to 9 open the pages, t changes the theme, / goes to the first search field, ? shows this. */
function useKeys(toggleTheme: () => void, help: () => void) {
  useEffect(() => {
    const f = (e: KeyboardEvent) => {
      const t = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || t.closest("input, select, textarea, dialog")) return;
      const page = pages[Number(e.key) - 1];
      if (page) window.location.hash = link(page.path);
      else if (e.key === "t") toggleTheme();
      else if (e.key === "?") help();
      else if (e.key === "/") {
        const field = document.querySelector<HTMLInputElement>("input[type=search]");
        if (!field) return;
        field.focus();
        e.preventDefault();
      }
    };
    addEventListener("keydown", f);
    return () => removeEventListener("keydown", f);
  }, [toggleTheme, help]);
}

function Login({ session, done, cancel }: { session: Session; done: (s: Session) => void; cancel?: () => void }) {
  const [key, setKey] = useState("");
  const [error, setError] = useState("");
  const submit = (e: FormEvent) => {
    e.preventDefault();
    post<Session>("session", { key }).then(done, (x: Error) => setError(x.message));
  };
  return (
    <main className="login">
      <form onSubmit={submit}>
        <img src="/icon.svg" width="44" height="44" alt="" />
        <h1>Sluice</h1>
        <p>{session.keys ? "Log in with your tenant’s key, or the administrator’s." : "Log in with the administrator’s key."}</p>
        <label htmlFor="key">Key</label>
        <input id="key" type="password" autoComplete="current-password" autoFocus required value={key} onChange={(e) => setKey(e.target.value)} aria-describedby="fault" />
        <p id="fault" className="fault" role="alert">{error}</p>
        <button type="submit" className="primary">Log in</button>
        {cancel && <button type="button" onClick={cancel}>Back</button>}
      </form>
    </main>
  );
}

function Help({ close }: { close: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  return (
    <dialog ref={box} onClose={close} aria-label="Keys">
      <h2>Keys</h2>
      <dl className="keys">
        {pages.map((p, i) => (
          <div key={p.path}><dt><kbd>{i + 1}</kbd></dt><dd>{p.name}</dd></div>
        ))}
        <div><dt><kbd>/</kbd></dt><dd>Search</dd></div>
        <div><dt><kbd>t</kbd></dt><dd>Light or dark</dd></div>
        <div><dt><kbd>?</kbd></dt><dd>These keys</dd></div>
      </dl>
      <div className="buttons"><button type="button" className="primary" onClick={() => box.current?.close()}>Close</button></div>
    </dialog>
  );
}

export function App() {
  const [theme, toggleTheme] = useTheme();
  const [session, setSession] = useState<Session | null>(null);
  const [login, setLogin] = useState(false);
  const [help, setHelp] = useState(false);
  const [fault, setFault] = useState("");
  useKeys(toggleTheme, useCallback(() => setHelp(true), []));
  const ask = useCallback(() => {
    api<Session>("session").then((s) => { setSession(s); setFault(""); }, (e: Error) => setFault(e.message));
  }, []);
  useEffect(() => {
    ask();
    addEventListener("sluice-logged-out", ask);
    return () => removeEventListener("sluice-logged-out", ask);
  }, [ask]);
  useEffect(() => { // until the server is there
    if (!fault) return;
    const t = setInterval(ask, 3000);
    return () => clearInterval(t);
  }, [fault, ask]);
  const { path } = useAddress();
  const page = pages.find((p) => p.path === path[0]) ?? pages[0]!;
  useEffect(() => { document.title = `${page.name} · Sluice`; }, [page]);
  const feed = useLiveFeed(!!session?.role);

  if (!session) return <main className="login" role="status">{fault || <span className="sr">Loading</span>}</main>;
  if (!session.role || login) {
    return <Login session={session} done={(s) => { setSession(s); setLogin(false); }} cancel={session.role ? () => setLogin(false) : undefined} />;
  }
  const logout = () => void api("session", { method: "DELETE" }).then(ask);
  return (
    <ThemeContext value={theme}>
      <SessionContext value={session}>
        <LiveContext value={feed}>
          <a className="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the content</a>
          <div className="frame">
            <nav aria-label="Pages">
              <a className="brand" href="#/"><img src="/icon.svg" width="26" height="26" alt="" /><span>Sluice</span></a>
              <ul>
                {pages.map((p) => (
                  <li key={p.path}>
                    <a href={link(p.path)} aria-current={p === page ? "page" : undefined}><Icon d={p.icon} /><span>{p.name}</span></a>
                  </li>
                ))}
              </ul>
              <div className="who">
                <button type="button" onClick={toggleTheme} title="Light or dark (t)" aria-label={theme === "dark" ? "Switch to light" : "Switch to dark"}>
                  <Icon d={theme === "dark" ? "M10 6.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7M10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100" : "M16.500 11.500A7 7 0 0 1 8.500 3.500a7 7 0 1 0 8 8z"} />
                </button>
                <button type="button" onClick={() => setHelp(true)} aria-label="Keys" title="Keys (?)"><Icon d="M7.500 7.500a2.500 2.500 0 1 1 3.600 2.200c-.8.4-1.100.9-1.100 1.800M10 14.500h.01" /></button>
                {session.role === "viewer" && session.admin_key && !session.tenant && <button type="button" className="text" onClick={() => setLogin(true)}>Log in</button>}
                {(session.keys || (session.admin_key && session.role === "admin")) && <button type="button" className="text" onClick={logout}>Log out</button>}
              </div>
            </nav>
            <main id="main" tabIndex={-1}>
              <header className="top">
                <h1>{page.name}</h1>
                <span className={"pulse " + (feed.connected ? "on" : "off")} role="status">{feed.connected ? "live" : "connecting"}</span>
                {session.tenant && <span className="badge info">tenant {session.tenant}</span>}
                {page.timed && <TimePicker />}
              </header>
              {page.show()}
            </main>
          </div>
          {help && <Help close={() => setHelp(false)} />}
        </LiveContext>
      </SessionContext>
    </ThemeContext>
  );
}
