/* A page that was opened as a file may not fetch another one: the search reads pageTexts instead. */
if (location.protocol === "file:") {
  window.fetch = async (url) => {
    const root = document.documentElement.dataset.content_root;
    const name = url.slice(root.length, -DOCUMENTATION_OPTIONS.FILE_SUFFIX.length);
    const main = document.createElement("div");
    main.setAttribute("role", "main");
    main.textContent = pageTexts[name] ?? "";
    return new Response(main.outerHTML);
  };
}
